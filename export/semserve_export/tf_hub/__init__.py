"""A BERT that is a SavedModel of TensorFlow, as TF Hub publishes it."""
