"""Starts the program text-embeddings-inference, and asks it and this server the same.

`SEMSERVE_TEI_BINARY` is the path of the program, built with ONNX Runtime and gRPC.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import onnxruntime
import pytest
from conftest import running_server
from tei_calls import TeiCalls, streamed

BINARY = os.environ.get("SEMSERVE_TEI_BINARY", "")
NEEDS_PROGRAM = pytest.mark.skipif(
    not BINARY, reason="SEMSERVE_TEI_BINARY names no program of text-embeddings-inference"
)
Channels = Sequence[grpc.Channel]
"""To the program, and to this server."""


@contextlib.contextmanager
def both(models: Path, model: Path, place: Path) -> Iterator[Channels]:
    """Serve one model with the program and with this server.

    Args:
        models: directory with one bundle.
        model: the same model as the program takes it.
        place: directory for a link.
    """
    with (
        _program(model, _libraries(place / "lib")) as expected,
        running_server("--models", str(models), "--text-embeddings-inference") as server,
        grpc.insecure_channel(server.address) as actual,
    ):
        yield expected, actual


def answers(channels: Channels, method: str, request: Any) -> list[Any]:
    """Return the answer of each, or the code with which it refused."""
    return [_answer(lambda one=one: TeiCalls(one)(method, request)) for one in channels]


def stream_answers(channels: Channels, method: str, requests: Sequence[Any]) -> list[list[Any]]:
    """Return the answers of each to a stream; the last one may be the code with which it ended."""
    found = []
    for channel in channels:
        stream = streamed(channel, method, requests)
        got: list[Any] = []
        while (answer := _answer(lambda stream=stream: next(stream, None))) is not None:
            got.append(answer)
            if isinstance(answer, grpc.StatusCode):
                break
        found.append(got)
    return found


def _answer(ask: Any) -> Any:
    try:
        return ask()
    except grpc.RpcError as error:
        return error.code()  # type: ignore[attr-defined]  # a call is an error too


def _libraries(place: Path) -> Path:
    """Link our ONNX Runtime under the name that the program loads."""
    capi = Path(onnxruntime.__file__).parent / "capi"
    place.mkdir()
    (place / "libonnxruntime.so.1").symlink_to(next(capi.glob("libonnxruntime.so.1*")))
    return place


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _program(model: Path, libraries: Path) -> Iterator[grpc.Channel]:
    port = _free_port()
    command = [
        BINARY, "--model-id", model, "--pooling", "mean", "--hostname", "127.0.0.1",
        "--port", str(port), "--prometheus-port", str(_free_port()),
    ]  # fmt: skip
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "RUST_LOG": "warn"}
    process = subprocess.Popen(
        [*map(str, command)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(60)
            yield channel
    finally:
        process.kill()
        process.wait()
