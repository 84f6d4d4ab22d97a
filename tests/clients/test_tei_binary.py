"""The program text-embeddings-inference and this server: the same request, the same answer.

`SEMSERVE_TEI_BINARY` is the path of its program, built with ONNX Runtime and gRPC.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import pytest
from conftest import ROOT, running_server
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei

BINARY = os.environ.get("SEMSERVE_TEI_BINARY", "")
CUT_GRAPH = ROOT / "tests" / "load" / "servers" / "cut_graph.py"
TEXTS = ["a man is eating", "Héllo wörld, unaffable 😀", "cat " * 400, "x"]
CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 384,
    "num_attention_heads": 12, "num_hidden_layers": 6, "intermediate_size": 1536,
    "hidden_act": "gelu", "max_position_embeddings": 512, "vocab_size": 30522,
    "type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12,
}  # fmt: skip
pytestmark = pytest.mark.skipif(
    not BINARY, reason="SEMSERVE_TEI_BINARY names no program of text-embeddings-inference"
)


def _model(bundle: Path, place: Path) -> Path:
    """Lay the bundle out as the program wants a model: its graph cut before the pooling."""
    subprocess.run(
        [sys.executable, CUT_GRAPH, bundle / "model.onnx", place / "onnx" / "model.onnx"],
        check=True,
    )
    shutil.copy(bundle / "tokenizer.json", place)
    (place / "config.json").write_text(json.dumps(CONFIG))
    length = json.loads((bundle / "bundle.json").read_text())["max_sequence_length"]
    (place / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": length, "do_lower_case": False})
    )
    return place


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


@pytest.fixture(scope="module")
def channels(
    real_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    """A channel to the program, and one to this server."""
    place = tmp_path_factory.mktemp("tei")
    alone = place / "models"
    alone.mkdir()
    (alone / "minilm-l6-v2").symlink_to(real_models / "minilm-l6-v2")
    model = place / "model"
    model.mkdir()
    with (
        _program(_model(real_models / "minilm-l6-v2", model), _libraries(place / "lib")) as theirs,
        running_server("--models", str(alone), "--text-embeddings-inference") as server,
        grpc.insecure_channel(server.address) as ours,
    ):
        yield theirs, ours


def answers(channels: tuple[grpc.Channel, ...], method: str, request: Any, reply: Any) -> list[Any]:
    """Return the answer of each, or the code with which it refused."""
    found = []
    for channel in channels:
        call = channel.unary_unary(
            f"/tei.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        try:
            found.append(call(request))
        except grpc.RpcError as error:
            found.append(error.code())  # type: ignore[attr-defined]  # a call is an error too
    return found


def test_every_field_has_the_number_and_type_that_the_program_tells(
    channels: tuple[grpc.Channel, ...],
) -> None:
    files = []
    for channel in channels:
        content = ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(
            "tei.v1.Embed"
        )
        file = descriptor_pb2.FileDescriptorProto.FromString(content.SerializeToString())
        file.name = "tei.proto"
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
        files.append(file)
    theirs, ours = files
    for kind in ("message_type", "enum_type", "service"):
        expected = {one.name: one for one in getattr(theirs, kind)}
        assert expected == {one.name: one for one in getattr(ours, kind)}


def test_vectors_are_those_of_the_program(channels: tuple[grpc.Channel, ...]) -> None:
    for text in TEXTS:
        for direction in (0, 1):
            request = tei.EmbedRequest(inputs=text, truncate=True, truncation_direction=direction)
            theirs, ours = answers(channels, "Embed/Embed", request, tei.EmbedResponse)
            difference = np.abs(np.subtract(theirs.embeddings, ours.embeddings)).max()
            assert 5e-4 >= difference, text
            for count in ("compute_chars", "compute_tokens"):
                assert getattr(theirs.metadata, count) == getattr(ours.metadata, count)


def test_fewer_dimensions_are_those_of_the_program(channels: tuple[grpc.Channel, ...]) -> None:
    request = tei.EmbedRequest(inputs="a cat", dimensions=10)
    theirs, ours = answers(channels, "Embed/Embed", request, tei.EmbedResponse)
    assert 5e-4 >= np.abs(np.subtract(theirs.embeddings, ours.embeddings)).max()


def test_tokens_are_those_of_the_program(channels: tuple[grpc.Channel, ...]) -> None:
    for text in TEXTS:
        for special in (True, False):
            request = tei.EncodeRequest(inputs=text, add_special_tokens=special)
            theirs, ours = answers(channels, "Tokenize/Tokenize", request, tei.EncodeResponse)
            assert list(theirs.tokens) == list(ours.tokens)
            decode = tei.DecodeRequest(ids=[one.id for one in theirs.tokens])
            theirs, ours = answers(channels, "Tokenize/Decode", decode, tei.DecodeResponse)
            assert theirs.text == ours.text


def test_refusals_have_the_codes_of_the_program(channels: tuple[grpc.Channel, ...]) -> None:
    cases = [
        ("Embed/Embed", tei.EmbedRequest(), tei.EmbedResponse),
        ("Embed/Embed", tei.EmbedRequest(inputs="cat " * 400), tei.EmbedResponse),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=0), tei.EmbedResponse),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=999), tei.EmbedResponse),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", prompt_name="zz"), tei.EmbedResponse),
        ("Embed/EmbedSparse", tei.EmbedSparseRequest(inputs="a"), tei.EmbedSparseResponse),
        ("Predict/Predict", tei.PredictRequest(inputs="a"), tei.PredictResponse),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a", "b"]), tei.PredictResponse),
        ("Rerank/Rerank", tei.RerankRequest(query="a", texts=["b"]), tei.RerankResponse),
        ("Tokenize/Tokenize", tei.EncodeRequest(), tei.EncodeResponse),
        ("Tokenize/Decode", tei.DecodeRequest(), tei.DecodeResponse),
    ]
    for method, request, reply in cases:
        theirs, ours = answers(channels, method, request, reply)
        assert isinstance(theirs, grpc.StatusCode), method
        assert theirs == ours, method
