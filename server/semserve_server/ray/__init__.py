"""Bulk jobs on Ray Data and a deployment of Ray Serve, for clusters that run Ray."""
