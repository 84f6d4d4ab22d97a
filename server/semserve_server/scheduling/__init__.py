"""Admission control, the batch queue and the workers; independent of texts, ONNX and gRPC."""
