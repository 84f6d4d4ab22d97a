"""The heads of a directory's model, and the functions from their outputs to vectors or scores."""
