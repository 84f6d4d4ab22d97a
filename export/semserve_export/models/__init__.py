"""Keras models: families of backbones, presets, heads, adapters, and what their layers say."""
