"""Counters, and the context of one request. Every other part may add to them."""
