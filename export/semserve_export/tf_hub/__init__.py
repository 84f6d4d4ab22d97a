"""Exports a BERT that is a SavedModel of TensorFlow, as published on TF Hub."""
