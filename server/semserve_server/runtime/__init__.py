"""From text to token ids to rows of numbers: the tokenizer and the ONNX Runtime session."""
