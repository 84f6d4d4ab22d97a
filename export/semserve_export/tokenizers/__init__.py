"""Converts Keras tokenizers to tokenizer.json, and compares the two on texts."""
