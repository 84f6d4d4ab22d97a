"""Creates the event loop of a front end, which decides the gRPC server: see `new_server`."""

from __future__ import annotations

import asyncio
import logging
import os
from importlib import metadata

from semserve_server.completion_queue.compatibility import missing_parts
from semserve_server.completion_queue.shared_event_loop import SharedEventLoop
from semserve_server.config import Frontend
from semserve_server.supervision import event_loop

log = logging.getLogger(__name__)


def new_event_loop(frontend: Frontend) -> asyncio.AbstractEventLoop:
    """Create an event loop.

    Args:
        frontend: the value of `--frontend`. With `completion-queue` and a grpcio whose private
            parts have changed, the event loop is that of `aio`, and the log says so.
    """
    if frontend == "aio" or os.name == "nt":
        return event_loop.new_event_loop()
    if missing := missing_parts():
        log.warning(
            "--frontend completion-queue: grpcio %s has no %s; the server uses grpc.aio",
            metadata.version("grpcio"),
            ", ".join(missing),
        )
        return event_loop.new_event_loop()
    return SharedEventLoop()
