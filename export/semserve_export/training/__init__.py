"""Training of classifiers: hyperparameters, start, checkpoints, metrics and report."""
