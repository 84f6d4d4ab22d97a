"""Sessions on GPUs: which device, its libraries, where nodes run, and buffers by shape."""
