"""Soft targets: teachers, their answers, and calibration by temperature scaling."""
