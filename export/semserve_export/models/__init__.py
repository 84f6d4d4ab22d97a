"""Keras models: families of backbones, presets, heads, adapters, and their settings."""
