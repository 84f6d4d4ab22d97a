"""Admission control, the batch queue and the workers; knows no text, no ONNX and no gRPC."""
