"""From texts to token ids to rows: the tokenizer and the ONNX Runtime session."""
