"""Files and their sources: packages of weights, digests, atomic writes of directories."""
