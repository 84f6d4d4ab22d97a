"""A gRPC server on grpcio's completion queue, with the interface of `grpc.aio.server`."""
