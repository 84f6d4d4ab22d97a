"""Configurations of saved models: what they may name, and how they are rewritten."""
