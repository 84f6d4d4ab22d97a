"""Optimised graphs on the disk, whose equal weights are one file."""
