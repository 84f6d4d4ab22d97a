"""The heads of a directory's model, and what makes vectors or scores of what they give."""
