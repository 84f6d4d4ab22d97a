"""Which queued entries run together: the window of first entries, and the search in it. Pure."""
