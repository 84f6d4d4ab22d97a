"""Tables of labelled and scored pairs, their batches, and pairs that are made of others."""
