"""Adapters for LangChain, LlamaIndex, Haystack and code written for sentence-transformers."""
