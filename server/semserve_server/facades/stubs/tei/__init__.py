"""Messages of text-embeddings-inference."""
