"""The steps of an export, from a model to a verified bundle, and of a later check."""
