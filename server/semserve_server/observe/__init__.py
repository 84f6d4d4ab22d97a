"""What operators see: counts and times, logs, traces. Nothing here knows gRPC."""
