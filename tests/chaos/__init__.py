"""Chaos: what callers, strangers, disks and signals may do, and that the server answers right."""
