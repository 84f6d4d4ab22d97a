"""Messages of the embeddings API of OpenAI."""
