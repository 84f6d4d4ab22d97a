"""Which event loop, and so which gRPC server, `--frontend` gives."""

from __future__ import annotations

import logging

import pytest
from semserve_server.completion_queue import compatibility
from semserve_server.completion_queue.shared_event_loop import SharedEventLoop
from semserve_server.config import Frontend
from semserve_server.frontend.event_loop import new_event_loop


@pytest.mark.parametrize("frontend", ["aio", "completion-queue"])
def test_the_front_end_decides_the_event_loop(frontend: Frontend) -> None:
    loop = new_event_loop(frontend)
    loop.close()
    assert (frontend == "completion-queue") == isinstance(loop, SharedEventLoop)


def test_the_installed_grpcio_has_all_private_parts() -> None:
    assert [] == compatibility.missing_parts()


def test_without_a_private_part_the_server_uses_grpc_aio_and_names_the_part(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {**compatibility.PARTS, "Server": ("start", "later"), "Gone": ()}
    monkeypatch.setattr(compatibility, "PARTS", parts)
    with caplog.at_level(logging.WARNING):
        loop = new_event_loop("completion-queue")
    loop.close()
    assert not isinstance(loop, SharedEventLoop)
    missing = "grpc._cython.cygrpc.Server.later, grpc._cython.cygrpc.Gone"
    assert f"has no {missing}; the server uses grpc.aio" in caplog.text
