"""How a client reaches a server: address, deadlines, retries, metadata, call details."""
