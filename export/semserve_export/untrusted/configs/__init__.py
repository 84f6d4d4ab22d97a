"""Configs of saved models: the allow-lists, and how the configs are rewritten."""
