"""The sequences of token ids that a Keras model was trained on."""
