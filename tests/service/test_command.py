"""The command: what it says at the start, how it fails, how it ends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import onnx
import pytest
from conftest import ROOT, fails, running_server, start_server
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub


def reseal(bundle: Path, name: str) -> None:
    """Write a changed file's true size and digests into the manifest."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    content = (bundle / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"][name] = {"bytes": len(content), "sha256": digest}
    if name == "tokenizer.json":
        manifest["tokenizer_sha256"] = digest
    (bundle / "bundle.json").write_text(json.dumps(manifest))


@pytest.fixture
def copy(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models / "tiny-embed", tmp_path / "models" / "tiny-embed"))


def test_one_line_tells_address_models_provider_and_threads(tiny_models: Path) -> None:
    with running_server(
        "--models", str(tiny_models), "--batch-workers", "2", "--intra-op-threads", "3"
    ) as server:
        for word in ("127.0.0.1:", "tiny-embed", "tiny-nli", "CPUExecutionProvider"):
            assert word in server.line
        assert "2 batch workers x 1 thread, " in server.line
        assert "3 threads for a single run" in server.line


def test_a_changed_file_stops_the_start_with_a_line_and_exit_code_2(copy: Path) -> None:
    with (copy / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01")
    code, line = fails("--models", str(copy))
    assert 2 == code
    says = "model.onnx: its SHA-256 differs from the manifest: export again"
    assert f"semserve-server: {copy}/{says}" == line


def test_wrong_golden_answers_stop_the_start(copy: Path) -> None:
    """Digests that hold cannot save a model that answers otherwise than Keras did."""
    golden = json.loads((copy / "golden.json").read_text())
    golden["cases"][3]["embedding"][0] += 0.001
    (copy / "golden.json").write_text(json.dumps(golden))
    reseal(copy, "golden.json")
    code, line = fails("--models", str(copy))
    assert 2 == code
    assert "the model differs from Keras by 6.7e-04 of a row's scale, more than 1.0e-05" in line


@pytest.mark.parametrize(("arguments", "says"), [
    (["--models", "nowhere"], "nowhere: the directory does not exist: run `make models`"),
    (["--device", "cuda", "--models", str(ROOT / "tests" / "bundles")], "--device cuda: "),
    (["--max-queue-entries", "5"], "must be at most --max-queue-entries 5"),
    (["--max-queue-scores", "5"], "must be at most --max-queue-scores 5"),
    (["--address", "256.0.0.1:1", "--models", str(ROOT / "tests" / "bundles")],
     "--address 256.0.0.1:1: cannot listen there"),
    (["--address", "127.0.0.1:99999"], "--address 127.0.0.1:99999: give HOST:PORT"),
    (["--address", "127.0.0.1"], "--address 127.0.0.1: give HOST:PORT"),
])  # fmt: skip
def test_what_cannot_be_served_is_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    code, line = fails(*arguments)
    assert 2 == code
    assert line.startswith("semserve-server: ")
    assert says in line


def test_a_port_in_use_is_refused(tiny_models: Path, server_address: str) -> None:
    code, line = fails("--models", str(tiny_models), "--address", server_address)
    assert 2 == code
    assert "cannot listen there: the port is in use" in line


def test_a_flag_out_of_bounds_is_named() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "semserve_server", "--max-text-bytes", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == ended.returncode
    assert "--max-text-bytes" in ended.stderr


def test_a_variable_sets_a_flag() -> None:
    code, line = fails(SEMSERVE_MODELS="from-a-variable")
    assert 2 == code
    assert "from-a-variable" in line


async def test_sigterm_answers_every_call_that_was_admitted(tiny_models: Path) -> None:
    """Calls that have been sent are taken up before new ones are refused."""
    with running_server("--models", str(tiny_models)) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = EmbeddingServiceStub(channel)
            request = EmbedRequest(texts=[f"{number} cats" for number in range(150)])
            calls = [asyncio.ensure_future(answer(stub, request)) for _ in range(20)]
            await asyncio.sleep(0)  # the calls set out
            await refusal(stub.Embed(EmbedRequest()))
            server.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*calls)
        assert 0 == await asyncio.to_thread(server.process.wait, 30)
    assert [150] * 20 == [len(one.results) for one in answers]


async def answer(stub: EmbeddingServiceStub, request: EmbedRequest) -> EmbedResponse:
    return await stub.Embed(request)


async def test_the_echo_model_answers_without_a_bundle() -> None:
    with running_server("--echo", "384", "--models", "nowhere") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = EmbeddingServiceStub(channel)
            response = await answer(stub, EmbedRequest(texts=["a b c", "a"], model="echo"))
    vectors = [list(one.embedding.values) for one in response.results]
    assert [[3.0] * 384, [1.0] * 384] == vectors


async def test_a_watch_that_is_open_does_not_hold_up_the_end(tiny_models: Path) -> None:
    with running_server("--models", str(tiny_models), "--drain-timeout", "600") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert health_pb2.HealthCheckResponse.SERVING == (await watch.read()).status
            server.process.send_signal(signal.SIGTERM)
            assert health_pb2.HealthCheckResponse.NOT_SERVING == (await watch.read()).status
            assert 0 == await asyncio.to_thread(server.process.wait, 60)


async def test_sigterm_before_the_models_are_warm_ends_the_start(tiny_models: Path) -> None:
    """Whenever it comes, the server ends with 0 and without a traceback."""
    process = start_server("--models", str(tiny_models), "--log-level", "debug")
    assert process.stderr is not None
    await asyncio.to_thread(process.stderr.readline)  # Python has started and asyncio says so
    process.send_signal(signal.SIGTERM)
    _, output = await asyncio.to_thread(process.communicate, timeout=60)
    assert "Traceback" not in output
    assert process.returncode in {0, -signal.SIGTERM}


def test_a_tokenizer_that_is_none_stops_the_start(copy: Path) -> None:
    """Digests that hold do not make a broken file whole."""
    (copy / "tokenizer.json").write_text("{}")
    reseal(copy, "tokenizer.json")
    code, line = fails("--models", str(copy))
    assert 2 == code
    assert line.startswith(f"semserve-server: {copy}: cannot be loaded: ")


def test_weights_outside_the_graph_are_not_read(copy: Path) -> None:
    """The graph names the file of its weights, and no digest covers that file."""
    model = onnx.load(copy / "model.onnx")
    onnx.save(
        model, copy / "model.onnx",
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    reseal(copy, "model.onnx")
    code, line = fails("--models", str(copy))
    assert 2 == code
    assert "model.onnx: ONNX Runtime cannot load it" in line
