"""Registers and answers RPCs: parsing, error statuses, streams, flow control."""
