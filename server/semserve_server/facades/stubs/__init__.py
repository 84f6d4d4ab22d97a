"""Messages of the other platforms' APIs, generated from proto/ by `make proto`."""
