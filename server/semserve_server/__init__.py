"""The gRPC server of semserve: semantic similarity as a service.

A request goes through these folders in order: `frontend` accepts the call, `rpc` parses it,
`services` check and convert it, `engine` orders the work, `runtime` tokenises and runs, and
`scheduling` forms the batches. ARCHITECTURE.md has the whole picture.
"""

__version__ = "0.1.0"
