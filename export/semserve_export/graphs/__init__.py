"""Keras models become ONNX graphs: by tf2onnx, or as encoders that are built node by node."""
