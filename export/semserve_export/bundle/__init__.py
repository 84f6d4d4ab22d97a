"""The files of a bundle: layout, schemas, golden answers, tolerances, and a check of all of it."""
