"""Directories of transformers and sentence-transformers become models and tokenizers."""
