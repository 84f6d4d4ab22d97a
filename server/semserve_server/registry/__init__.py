"""The models that are loaded, and what loads, calibrates, replaces and unloads them."""
