"""What a bundle holds: layout, schemas, golden answers, tolerances, and a check of the whole."""
