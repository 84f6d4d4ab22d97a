"""Exports any Keras model of token ids or texts: tokenizer, inputs, head, and verification."""
