"""Analyses models of two texts: the encoder of each side (a tower), and the comparison."""
