"""Several server processes on one address, and the supervisor that starts and ends them."""
