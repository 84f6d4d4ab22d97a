"""The gRPC server of semserve: semantic similarity as a service.

The path of a request, in order: `services` check and convert, `engine` orders the work,
`tokenizer` reads texts, `batcher` forms batches, `session` runs them. ARCHITECTURE.md tells it
whole.
"""

__version__ = "0.1.0"
