"""Sessions of bundles for servers inside the tests."""

from __future__ import annotations

import atexit

from semserve_server.repository.manifest import Bundle, read_graph
from semserve_server.runtime.graph import Graph
from semserve_server.runtime.session import Session

_shared: dict[str, Session] = {}
atexit.register(_shared.clear)  # what frees a session is gone when the interpreter ends


def shared_session(bundle: Bundle) -> Session:
    """Return the session that the tests of this process share: a run leaves nothing in it."""
    if bundle.digest not in _shared:
        _shared[bundle.digest] = load_session(bundle)
    return _shared[bundle.digest]


def shared_sessions() -> set[Session]:
    """Return those that this process shares."""
    return {*_shared.values()}


def load_session(bundle: Bundle) -> Session:
    """Load a bundle's portable graph on one thread of the CPU."""
    manifest = bundle.manifest
    graph = Graph(
        name=manifest.model,
        content=read_graph(bundle, "portable"),
        inputs=tuple(manifest.inputs),
        output=manifest.output,
        outputs=manifest.outputs,
    )
    return Session(graph, threads=1, exclusive_threads=2)
