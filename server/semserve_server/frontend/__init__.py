"""The gRPC server: channel arguments, TLS, authentication, health and reflection."""
