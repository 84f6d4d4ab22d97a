"""Keras tokenizers become tokenizer.json; texts that compare the two."""
