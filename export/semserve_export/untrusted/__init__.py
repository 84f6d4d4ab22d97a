"""Checks of untrusted model files before Keras reads them."""
