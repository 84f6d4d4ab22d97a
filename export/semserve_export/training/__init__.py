"""Training of classifiers: plan, start, checkpoints, metrics and report."""
