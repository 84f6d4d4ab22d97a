"""Detects threads, runs and event loops that hang, and ends the process in time."""
