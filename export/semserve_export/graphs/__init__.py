"""Converts Keras models to ONNX graphs: with tf2onnx, or node by node for encoders."""
