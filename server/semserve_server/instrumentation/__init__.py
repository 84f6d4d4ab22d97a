"""Counters, and the context of one request, which every other part may add to."""
