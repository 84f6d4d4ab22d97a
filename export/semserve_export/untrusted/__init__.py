"""Checks of a stranger's model files before Keras reads them, and the limits of that process."""
