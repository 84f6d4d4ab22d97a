"""The load harness: how fast semserve is, beside other servers and beside the bare runtime."""
