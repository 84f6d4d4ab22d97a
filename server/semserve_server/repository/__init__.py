"""Bundles on the disk: finds them, reads them as hostile input, verifies their golden answers."""
