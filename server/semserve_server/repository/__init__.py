"""Bundles on the disk: finds them, reads them as untrusted input, verifies golden answers."""
