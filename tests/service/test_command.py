"""The command: what it says at the start, how it fails, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from conftest import ROOT, running_server, start_server
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub


def fails(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command where it must not start; its exit code and last line."""
    address = [] if "--address" in arguments else ["--address", "127.0.0.1:0"]
    ended = subprocess.run(
        [sys.executable, "-m", "semserve_server", *address, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )
    return ended.returncode, (ended.stderr.strip().splitlines() or [""])[-1]


@pytest.fixture
def copy(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models / "tiny-embed", tmp_path / "models" / "tiny-embed"))


def test_one_line_tells_address_models_provider_and_threads(tiny_models: Path) -> None:
    with running_server("--models", str(tiny_models), "--lanes", "2", "--threads", "1") as server:
        for word in ("127.0.0.1:", "tiny-embed", "tiny-nli", "CPUExecutionProvider"):
            assert word in server.line
        assert "2 lanes x 1 threads" in server.line


def test_a_changed_file_stops_the_start_with_a_line_and_exit_code_2(copy: Path) -> None:
    with (copy / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01")
    code, line = fails("--models", str(copy))
    assert 2 == code
    assert (
        line
        == f"semserve-server: {copy}/model.onnx: its SHA-256 is not the manifest's: export again"
    )


def test_wrong_golden_answers_stop_the_start(copy: Path) -> None:
    """Digests that hold cannot save a model that answers otherwise than Keras did."""
    golden = json.loads((copy / "golden.json").read_text())
    golden["cases"][3]["embedding"][0] += 0.001
    (copy / "golden.json").write_text(json.dumps(golden))
    manifest = json.loads((copy / "bundle.json").read_text())
    content = (copy / "golden.json").read_bytes()
    manifest["files"]["golden.json"] = {
        "bytes": len(content),
        "sha256": subprocess.run(
            ["sha256sum", copy / "golden.json"], capture_output=True, text=True, check=True
        ).stdout.split()[0],
    }
    (copy / "bundle.json").write_text(json.dumps(manifest))
    code, line = fails("--models", str(copy))
    assert 2 == code
    assert "the model differs from Keras by 1.0e-03, more than 1.0e-05" in line


@pytest.mark.parametrize(("arguments", "says"), [
    (["--models", "nowhere"], "nowhere: no such directory: run `make models`, or name another"),
    (["--device", "cuda", "--models", str(ROOT / "tests" / "bundles")], "--device cuda: "),
    (["--max-queue-entries", "5"], "--max-queue-entries 5 could never admit so many"),
    (["--address", "256.0.0.1:1", "--models", str(ROOT / "tests" / "bundles")], "--address"),
])  # fmt: skip
def test_what_cannot_be_served_is_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    code, line = fails(*arguments)
    assert 2 == code
    assert line.startswith("semserve-server: ")
    assert says in line


def test_a_port_in_use_is_refused(tiny_models: Path, server_address: str) -> None:
    code, line = fails("--models", str(tiny_models), "--address", server_address)
    assert 2 == code
    assert "is another server running?" in line


def test_a_flag_out_of_bounds_is_named() -> None:
    code, _ = fails("--max-text-bytes", "0")
    assert 2 == code


def test_a_variable_sets_a_flag() -> None:
    code, line = fails(SEMSERVE_MODELS="from-a-variable")
    assert 2 == code
    assert "from-a-variable" in line


async def test_sigterm_finishes_what_was_admitted_and_exits_with_0(tiny_models: Path) -> None:
    """Calls in flight at SIGTERM are answered or told to go elsewhere; none is lost."""
    with running_server("--models", str(tiny_models)) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = EmbeddingServiceStub(channel)
            await stub.Embed(EmbedRequest(texts=["warm"]))
            request = EmbedRequest(texts=[f"{number} cats" for number in range(500)])
            calls = [stub.Embed(request) for _ in range(8)]
            await asyncio.wait([asyncio.ensure_future(settled(call)) for call in calls[:1]])
            server.process.send_signal(signal.SIGTERM)
            outcomes = await asyncio.gather(*map(settled, calls))
        assert 0 == await asyncio.to_thread(server.process.wait, 30)
        for outcome in outcomes:
            if isinstance(outcome, EmbedResponse):
                assert 500 == len(outcome.results)
            else:
                assert outcome == grpc.StatusCode.UNAVAILABLE


async def settled(
    call: grpc.aio.UnaryUnaryCall[EmbedRequest, EmbedResponse],
) -> EmbedResponse | grpc.StatusCode:
    """Return a call's answer, or the status without one."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error.code()


def test_sigint_before_the_models_are_warm_ends_the_start(tiny_models: Path) -> None:
    process = start_server("--models", str(tiny_models), "--log-level", "debug")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode in {0, -signal.SIGTERM}
