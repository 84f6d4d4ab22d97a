"""Metrics, logs and traces, made from the counters and the requests."""
