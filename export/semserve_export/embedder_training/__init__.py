"""Fine-tuning of transformer embedders on pairs of texts."""
