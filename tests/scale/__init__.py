"""Several replicas, behind Envoy and without it, while they end, hang and start."""
