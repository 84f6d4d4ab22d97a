"""The calls of each service: makes their requests and reads their responses."""
