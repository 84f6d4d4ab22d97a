"""Predict and Rerank of text-embeddings-inference and of this server: the same for the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
import tiny_kinds
from clients.tei_program import NEEDS_PROGRAM, Channels, answers, both, stream_answers
from load.servers.cut_graph import publish_inputs
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from tei_calls import TeiCalls
from tiny_bundles import Tiny, golden, node
from tiny_bundles import single as ids_of_one

pytestmark = NEEDS_PROGRAM
ALLOWED = 5e-4
LONG = "a cat sat on a mat " * 20
TEXTS = ["a dog", "cat sat on", "sea sun bus town", "zebra"]
REFUSED = grpc.StatusCode.INVALID_ARGUMENT
OTHER_TASK = grpc.StatusCode.FAILED_PRECONDITION


def _labelled() -> Tiny:
    """Make a classifier of single texts: three multiples of the logit of a scorer."""
    scorer = tiny_kinds.scorer("tiny-labelled", scores="none", pair=False)
    *nodes, total = scorer.nodes
    multiples = np.array([[1, -0.5, 0.3]], np.float32)
    logit = tiny_kinds.ordered_logit(ids_of_one("cat sat"))
    return replace(
        scorer,
        nodes=[
            *nodes,
            node(total.op_type, " ".join(total.input), "logit", keepdims=1),
            node("MatMul", "logit multiples", "logits"),
        ],
        constants={**scorer.constants, "multiples": multiples},
        manifest={
            "task": "classification",
            "output": "logits",
            "scores": "softmax",
            "labels": ["x", "y", "z"],
        },
        golden=[golden("cat sat", logits=logit * multiples[0])],
    )


def _publish(bundle: Path, place: Path) -> None:
    """Lay a bundle out as the program wants a model that classifies or reranks."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    place.mkdir()
    model = onnx.load(bundle / "model.onnx")
    publish_inputs(model.graph)
    onnx.save(model, place / "model.onnx")
    shutil.copy(bundle / "tokenizer.json", place)
    labels = dict(enumerate(manifest.get("labels") or ["LABEL_0"]))
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "max_position_embeddings": manifest["max_sequence_length"],
        "pad_token_id": 0,
        "id2label": labels,
        "label2id": {label: place for place, label in labels.items()},
    }
    (place / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module", params=["pairs", "texts", "reranker"])
def kind(request: pytest.FixtureRequest) -> str:
    """What the model takes: pairs to classify, single texts to classify, or pairs to score."""
    return str(request.param)


@pytest.fixture(scope="module")
def channels(
    kind: str, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Channels]:
    """A channel to the program, and one to this server, over the same random weights."""
    place = tmp_path_factory.mktemp("tei")
    models = place / "models"
    models.mkdir()
    if kind == "pairs":
        bundle = models / "tiny-nli"
        shutil.copytree(tiny_models / "tiny-nli", bundle)
    else:
        tiny = {
            "texts": _labelled,
            "reranker": lambda: tiny_kinds.scorer("tiny-score", scores="sigmoid"),
        }
        bundle = tiny[kind]().write(models)
    _publish(bundle, place / "model")
    with both(models, place / "model", place) as both_of_them:
        yield both_of_them


def predict(*texts: str, **options: Any) -> tuple[str, Any]:
    """Make a request for the labels of a text, or of a list of texts."""
    return "Predict/PredictPair", tei.PredictPairRequest(inputs=texts, **options)


def single(text: str, **options: Any) -> tuple[str, Any]:
    """Make a request for the labels of a text."""
    return "Predict/Predict", tei.PredictRequest(inputs=text, **options)


def same(theirs: Any, ours: Any, said: object = "") -> None:
    """Hold our answer, or code, against the one of the program."""
    if isinstance(theirs, grpc.StatusCode) or isinstance(ours, grpc.StatusCode):
        assert theirs == ours, said
        return
    if isinstance(theirs, tei.PredictResponse):
        expected, found = theirs.predictions, ours.predictions
        assert [one.label for one in expected] == [one.label for one in found], said
    else:
        expected, found = theirs.ranks, ours.ranks
        assert [(one.index, one.HasField("text"), one.text) for one in expected] == [
            (one.index, one.HasField("text"), one.text) for one in found
        ], said
    scores = [one.score for one in expected]
    assert scores == pytest.approx([one.score for one in found], abs=ALLOWED), said
    for count in ("compute_chars", "compute_tokens"):
        assert getattr(theirs.metadata, count) == getattr(ours.metadata, count), said


def test_labels_and_scores_are_those_of_the_program(channels: Channels) -> None:
    pairs = [(one, other) for one in TEXTS for other in TEXTS]
    for raw in (False, True):
        for method, request in (
            *(single(text, raw_scores=raw) for text in TEXTS),
            *(predict(text, raw_scores=raw) for text in TEXTS),
            *(predict(*pair, raw_scores=raw) for pair in pairs),
            predict("a dog", "", raw_scores=raw),
            predict("", "a dog", raw_scores=raw),
        ):
            expected, actual = answers(channels, method, request)
            assert isinstance(expected, tei.PredictResponse), request
            same(expected, actual, request)


def test_long_texts_are_cut_as_the_program_cuts_them(channels: Channels) -> None:
    for direction in (0, 1):
        options = {"truncate": True, "truncation_direction": direction, "raw_scores": True}
        for method, request in (
            single(LONG, **options),
            predict(LONG, "a dog", **options),
            predict("a dog", LONG, **options),
            predict(f"sea {LONG}", f"sun {LONG} bus", **options),
        ):
            expected, actual = answers(channels, method, request)
            assert isinstance(expected, tei.PredictResponse), request
            same(expected, actual, request)


def test_predictions_are_refused_with_the_codes_of_the_program(channels: Channels) -> None:
    for method, request in (
        single(""),
        single(LONG),
        predict(),
        predict("a", "b", "c"),
        predict(""),
        predict("", ""),
        predict("a", LONG),
    ):
        assert [REFUSED, REFUSED] == answers(channels, method, request), request
    embed = tei.EmbedRequest(inputs="a")
    assert [OTHER_TASK, OTHER_TASK] == answers(channels, "Embed/Embed", embed)


def test_streams_of_predictions_are_those_of_the_program(channels: Channels) -> None:
    for requests in (
        [single(text) for text in TEXTS],
        [predict(*TEXTS[:2]), predict(TEXTS[2]), predict(TEXTS[3], "")],
    ):
        method = f"{requests[0][0]}Stream"
        reference, actual = stream_answers(channels, method, [message for _, message in requests])
        for expected, answer in zip(reference, actual, strict=True):
            same(expected, answer, method)


def test_streams_end_with_the_code_of_the_program(channels: Channels) -> None:
    for requests in (
        [single("a dog"), single(""), single("a cat")],
        [predict("a"), predict("a", "b", "c"), predict("a")],
    ):
        method = f"{requests[0][0]}Stream"
        expected, actual = stream_answers(channels, method, [message for _, message in requests])
        assert REFUSED == expected[-1] == actual[-1]


def test_ranks_are_those_of_the_program(channels: Channels, kind: str) -> None:
    for texts in (TEXTS, ["a dog"], ["sea", "", "sun"], ["bus", "cat", "bus", "sea", "bus"]):
        for options in ({}, {"raw_scores": True}, {"return_text": True}):
            for query in ("cat sat", ""):
                if not query and "" in texts:
                    continue
                request = tei.RerankRequest(query=query, texts=texts, **options)
                expected, actual = answers(channels, "Rerank/Rerank", request)
                assert (OTHER_TASK == expected) == (kind != "reranker")
                same(expected, actual, request)


def test_ranks_of_long_texts_are_those_of_the_program(channels: Channels) -> None:
    for direction in (0, 1):
        request = tei.RerankRequest(
            query="sea sun",
            texts=[*TEXTS, LONG, f"bus {LONG} town"],
            truncate=True,
            truncation_direction=direction,
        )
        same(*answers(channels, "Rerank/Rerank", request), direction)


def test_ranks_are_refused_with_the_codes_of_the_program(channels: Channels, kind: str) -> None:
    for request in (
        tei.RerankRequest(query="a", texts=["b", LONG]),
        tei.RerankRequest(query=LONG, texts=["b"]),
        tei.RerankRequest(query="", texts=["b", ""]),
    ):
        expected = REFUSED if kind == "reranker" else OTHER_TASK
        assert [expected, expected] == answers(channels, "Rerank/Rerank", request), request
    none = tei.RerankRequest(query="a")
    assert [REFUSED, REFUSED] == answers(channels, "Rerank/Rerank", none)


def test_more_texts_than_info_tells_are_refused(channels: Channels, kind: str) -> None:
    for channel in channels:
        info = TeiCalls(channel)("Info/Info", tei.InfoRequest())
        texts = ["a"] * (info.max_client_batch_size + 1)
        (code,) = answers([channel], "Rerank/Rerank", tei.RerankRequest(query="a", texts=texts))
        assert code == (REFUSED if kind == "reranker" else OTHER_TASK)


def test_a_stream_of_pairs_is_refused_with_the_code_of_the_program(
    channels: Channels, kind: str
) -> None:
    # The program of release 1.9.3 never answers a RerankStream that succeeds: its handler waits for
    # the end of a queue of which it holds the sender.
    messages = [tei.RerankStreamRequest(query="sea", text="sun"), tei.RerankStreamRequest()]
    expected = REFUSED if kind == "reranker" else OTHER_TASK
    assert [[expected]] * 2 == stream_answers(channels, "Rerank/RerankStream", messages)


def test_info_tells_the_type_and_the_length_of_the_program(channels: Channels) -> None:
    expected, actual = answers(channels, "Info/Info", tei.InfoRequest())
    for name in ("model_type", "max_input_length", "model_dtype"):
        assert getattr(expected, name) == getattr(actual, name), name
