"""The order of an export, from a model to a bundle that is proved, and of a later check."""
