"""How an RPC is registered and answered: parsing, errors to statuses, streams, flow control."""
