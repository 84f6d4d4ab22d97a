"""API keys: who calls, which models a key may use, and at what rate."""
