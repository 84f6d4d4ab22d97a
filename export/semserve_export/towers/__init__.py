"""A model that compares two texts, taken apart: the encoder of each side, and the comparison."""
