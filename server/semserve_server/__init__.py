"""The gRPC server of semserve: text embeddings, classification and similarity.

A request passes through these folders in order: `frontend` accepts the call, `rpc` parses it,
`services` validate and convert it, `engine` orders the work, `runtime` tokenises and runs, and
`scheduling` forms the batches. ARCHITECTURE.md has the whole picture.
"""

__version__ = "0.1.0"
