"""The gRPC server: its channel arguments, TLS, authentication, health and reflection."""
