"""The runner of the shared cases with the Python client."""
