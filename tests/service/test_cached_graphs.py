"""Servers and the directory of optimised graphs: shared by processes, and never needed."""

from __future__ import annotations

import sys
from pathlib import Path

import grpc
import pytest
from conftest import CALIBRATIONS, SERVING, start_server, wait_for_line
from known_calibrations import keep_calibrations
from semserve.v1 import embedding_pb2, embedding_pb2_grpc
from tiny_bundles import with_fused

MODEL = "tiny-embed"
USUAL = ("--device", "cpu", "--calibration-cache", CALIBRATIONS)


def answer(line: str) -> bytes:
    """The vectors of a server that said where it serves."""
    address = line.split(SERVING)[1].partition(": ")[0]
    with grpc.insecure_channel(address) as channel:
        stub = embedding_pb2_grpc.EmbeddingServiceStub(channel)
        request = embedding_pb2.EmbedRequest(model=MODEL, texts=["one", "and another"])
        return stub.Embed(request, timeout=30, wait_for_ready=True).SerializeToString()


def answers(*servers: tuple[str, ...]) -> tuple[list[bytes], str]:
    """Start servers at the same time; their vectors, and what they said."""
    processes = [start_server(*arguments) for arguments in servers]
    output: list[str] = []
    try:
        found = [answer(wait_for_line(process, output)) for process in processes]
    finally:
        for process in processes:
            process.terminate()
        output += [process.communicate(timeout=30)[1] for process in processes]
    return found, "".join(output)


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> tuple[str, ...]:
    """The flags of a server of a bundle whose optimised graph is kept."""
    bundle = with_fused(tiny_models / MODEL, tmp_path / MODEL)
    keep_calibrations(CALIBRATIONS, bundle)
    return (*USUAL, "--models", str(bundle))


def test_servers_that_start_at_once_share_one_entry(
    models: tuple[str, ...], tmp_path: Path
) -> None:
    cached = (*models, "--cache-dir", str(tmp_path / "cache"))
    found, output = answers(cached, (*cached, "--processes", "2"), (*models, "--cache-dir", "none"))
    assert 1 == len({*found})
    assert 1 == len([*(tmp_path / "cache" / "graphs").iterdir()])
    assert "WARNING" not in output


@pytest.mark.skipif(sys.platform != "linux", reason="no directory that even root cannot write")
def test_without_a_directory_to_write_the_server_serves_and_says_so_once(
    models: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    expected, output = answers((*models, "--cache-dir", "auto"))
    assert 1 == output.count("nothing is cached: --cache-dir /proc/semserve: No such file")
    found, also_said = answers((*models, "--cache-dir", "/proc/sys"))
    assert 1 == also_said.count("no optimised graph is kept in /proc/sys/graphs: ")
    assert expected == found
    assert "WARNING" not in output + also_said
