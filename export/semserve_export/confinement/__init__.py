"""The restrictions of a process that reads an untrusted model: limits, and Landlock for writes."""
