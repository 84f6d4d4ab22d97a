"""What is shown of the counters and requests: metrics, logs and traces."""
