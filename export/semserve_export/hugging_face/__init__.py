"""Reads directories of transformers and sentence-transformers as models and tokenizers."""
