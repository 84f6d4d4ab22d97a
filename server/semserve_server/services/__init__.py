"""The service layer: the only one that knows protobuf and gRPC. Each RPC checks, calls, replies."""
