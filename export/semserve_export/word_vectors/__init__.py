"""Models of word vectors: GloVe, averages, LSTMs, and their training."""
