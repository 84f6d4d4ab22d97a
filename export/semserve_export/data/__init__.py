"""Tables of labelled and scored pairs, their batches, and generated pairs."""
