"""The program text-embeddings-inference and this server: the same request, the same answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from clients.tei_program import NEEDS_PROGRAM, Channels, answers, both
from conftest import ROOT
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei

CUT_GRAPH = ROOT / "tests" / "load" / "servers" / "cut_graph.py"
TEXTS = ["a man is eating", "Héllo wörld, unaffable 😀", "cat " * 400, "x"]
CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 384,
    "num_attention_heads": 12, "num_hidden_layers": 6, "intermediate_size": 1536,
    "hidden_act": "gelu", "max_position_embeddings": 512, "vocab_size": 30522,
    "type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12,
}  # fmt: skip
pytestmark = NEEDS_PROGRAM


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


@pytest.fixture(scope="module")
def channels(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channels]:
    """A channel to the program, and one to this server."""
    place = tmp_path_factory.mktemp("tei")
    alone = place / "models"
    alone.mkdir()
    (alone / "minilm-l6-v2").symlink_to(real_models / "minilm-l6-v2")
    model = place / "model"
    model.mkdir()
    with both(alone, _model(real_models / "minilm-l6-v2", model), place) as channels:
        yield channels


def test_every_field_has_the_number_and_type_that_the_program_tells(
    channels: Channels,
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
    reference, actual = files
    for kind in ("message_type", "enum_type", "service"):
        expected = {one.name: one for one in getattr(reference, kind)}
        assert expected == {one.name: one for one in getattr(actual, kind)}


def test_vectors_are_those_of_the_program(channels: Channels) -> None:
    for text in TEXTS:
        for direction in (0, 1):
            request = tei.EmbedRequest(inputs=text, truncate=True, truncation_direction=direction)
            expected, actual = answers(channels, "Embed/Embed", request)
            difference = np.abs(np.subtract(expected.embeddings, actual.embeddings)).max()
            assert 5e-4 >= difference, text
            for count in ("compute_chars", "compute_tokens"):
                assert getattr(expected.metadata, count) == getattr(actual.metadata, count)


def test_fewer_dimensions_are_those_of_the_program(channels: Channels) -> None:
    request = tei.EmbedRequest(inputs="a cat", dimensions=10)
    expected, actual = answers(channels, "Embed/Embed", request)
    assert 5e-4 >= np.abs(np.subtract(expected.embeddings, actual.embeddings)).max()


def test_tokens_are_those_of_the_program(channels: Channels) -> None:
    for text in TEXTS:
        for special in (True, False):
            request = tei.EncodeRequest(inputs=text, add_special_tokens=special)
            expected, actual = answers(channels, "Tokenize/Tokenize", request)
            assert list(expected.tokens) == list(actual.tokens)
            decode = tei.DecodeRequest(ids=[one.id for one in expected.tokens])
            expected, actual = answers(channels, "Tokenize/Decode", decode)
            assert expected.text == actual.text


def test_refusals_have_the_codes_of_the_program(channels: Channels) -> None:
    cases = [
        ("Embed/Embed", tei.EmbedRequest()),
        ("Embed/Embed", tei.EmbedRequest(inputs="cat " * 400)),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=0)),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=999)),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", prompt_name="zz")),
        ("Embed/EmbedSparse", tei.EmbedSparseRequest(inputs="a")),
        ("Predict/Predict", tei.PredictRequest(inputs="a")),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a", "b"])),
        ("Rerank/Rerank", tei.RerankRequest(query="a", texts=["b"])),
        ("Tokenize/Tokenize", tei.EncodeRequest()),
        ("Tokenize/Decode", tei.DecodeRequest()),
    ]
    for method, request in cases:
        expected, actual = answers(channels, method, request)
        assert isinstance(expected, grpc.StatusCode), method
        assert expected == actual, method
