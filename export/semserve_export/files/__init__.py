"""Files and their sources: packages of weights, digests, directories that are written whole."""
