"""The export stage: a KerasHub model becomes a bundle that semserve serves."""

__version__ = "0.1.0"
