"""Faster graphs of a bundle (fused fp32, fp16, int8), and the limits that they must meet."""
