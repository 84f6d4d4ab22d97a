"""Distillation: teachers, their answers as soft targets, and temperature scaling."""
