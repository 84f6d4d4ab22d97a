"""Sends requests over gRPC, blocking and with asyncio, unary and as streams."""
