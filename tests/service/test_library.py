"""The engine inside a program, without gRPC: real bundles, and a real server to compare with."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from conftest import CALIBRATIONS
from semserve.v1.classification_pb2 import ClassifyPair, ClassifyRequest
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.similarity_pb2 import MatrixRequest
from semserve.v1.similarity_pb2_grpc import SimilarityServiceStub
from semserve_server.errors import (
    BundleError,
    ConfigError,
    DeadlineExceeded,
    Draining,
    InvalidRequest,
    Overloaded,
)
from semserve_server.library import Model, open_async_model, open_model

TEXTS = ["a", "the cat sat on the mat", " ".join(["dog"] * 100), "cat"]
PAIR = ("the cat sat", "a cat sits on the mat")


@pytest.fixture(scope="module")
def embedder(tiny_models: Path) -> Iterator[Model]:
    with open_model(
        tiny_models / "tiny-embed",
        device="cpu",
        cache_dir=CALIBRATIONS,
        max_request_texts=8,
    ) as model:
        yield model


@pytest.fixture(scope="module")
def classifier(tiny_models: Path) -> Iterator[Model]:
    with open_model(tiny_models / "tiny-nli", device="cpu", cache_dir=CALIBRATIONS) as model:
        yield model


@pytest.fixture(scope="module")
def channel(server_address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server_address) as channel:
        yield channel


def test_a_vector_has_the_same_bits_as_over_grpc(embedder: Model, channel: grpc.Channel) -> None:
    stub = EmbeddingServiceStub(channel)
    for text in TEXTS:
        (remote,) = stub.Embed(EmbedRequest(texts=[text], model="tiny-embed")).results
        expected = np.array([remote.embedding.values], np.float32)
        local = embedder.embed([text])
        assert ((1, 16), np.float32) == (local.shape, local.dtype)
        assert expected.tobytes() == local.tobytes()


def test_shortened_vectors_have_unit_length_as_over_grpc(
    embedder: Model, channel: grpc.Channel
) -> None:
    request = EmbedRequest(texts=["cat"], model="tiny-embed", dimensions=5)
    (remote,) = EmbeddingServiceStub(channel).Embed(request).results
    assert list(remote.embedding.values) == embedder.embed(["cat"], dimensions=5)[0].tolist()


def test_a_classification_has_the_same_bits_as_over_grpc(
    classifier: Model, channel: grpc.Channel
) -> None:
    request = ClassifyRequest(pairs=[ClassifyPair(premise=PAIR[0], hypothesis=PAIR[1])])
    (remote,) = ClassificationServiceStub(channel).Classify(request).results
    local = classifier.classify([PAIR])
    assert (remote.classification.label,) == local.labels
    assert list(remote.classification.logits) == local.logits[0].tolist()
    scores = {one.label: one.score for one in remote.classification.scores}
    assert scores == dict(zip(local.classes, local.scores[0].tolist(), strict=True))


@pytest.mark.parametrize("right", [None, ["cat"]])
def test_a_similarity_has_the_same_bits_as_over_grpc(
    embedder: Model, channel: grpc.Channel, right: list[str] | None
) -> None:
    request = MatrixRequest(left=["dog"], right=right or [], model="tiny-embed")
    remote = SimilarityServiceStub(channel).Matrix(request)
    expected = np.array([list(row.scores) for row in remote.rows], np.float32)
    assert expected.tobytes() == embedder.similarity(["dog"], right).tobytes()


def test_threads_that_call_together_get_their_own_answers(embedder: Model) -> None:
    texts = [f"{'cat ' * (at % 7 + 1)}{at}" for at in range(48)]
    alone = [embedder.embed([text]) for text in texts]
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda text: embedder.embed([text]), texts))
    np.testing.assert_allclose(np.concatenate(together), np.concatenate(alone), atol=1e-5)
    assert len(texts) == len(np.unique(np.concatenate(alone), axis=0))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], "texts: is empty: at least one is needed"),
        (["a", ""], "texts[1]: is empty"),
        ("cat", "texts: is of type str: pass a list, also for a single text"),
        (["a", 3], "texts[1]: is of type int, not str"),
        (["a\ud800"], "texts[0]: has a lone surrogate at 1: is it binary data?"),
        (["a\0"], "texts[0]: has a NUL character at 1: is it binary data?"),
        (["x" * 70_000], "texts[0]: 70000 bytes, at most 65536"),
        (["a"] * 9, "texts: 9 texts, at most 8 a request: send several requests, or stream"),
    ],
)
def test_invalid_texts_are_refused_by_name(
    embedder: Model, texts: list[str], expected: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        embedder.embed(texts)
    assert expected == str(refused.value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"dimensions": 17}, "dimensions"),
        ({"prompt_name": "nothing"}, "prompt_name"),
        ({"side": "left"}, "side"),
        ({"truncation": "middle"}, "truncation"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "1 s"}, "timeout"),
        ({"dimensions": "5"}, "dimensions"),
        ({"truncation": ""}, "truncation"),
        ({"truncation": "none"}, "texts[2]"),
    ],
)
def test_invalid_options_are_refused_by_name(
    embedder: Model, options: dict[str, int], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        embedder.embed(TEXTS, **options)
    assert [field] == [one.field for one in refused.value.violations]


def test_texts_of_a_similarity_are_refused_where_they_stand(embedder: Model) -> None:
    with pytest.raises(InvalidRequest, match=r"right\[1\]: is empty"):
        embedder.similarity(["a"], ["a", ""])
    with pytest.raises(InvalidRequest, match="metric: 'angle' is not one of cosine, dot"):
        embedder.similarity(["a"], metric="angle")


def test_a_pair_without_hypothesis_is_refused(classifier: Model) -> None:
    with pytest.raises(InvalidRequest, match=r"pairs\[1\].hypothesis: is missing"):
        classifier.classify([PAIR, "alone"])
    with pytest.raises(InvalidRequest, match=r"pairs\[0\].hypothesis: is empty"):
        classifier.classify([("a", "")])


def test_a_call_of_another_task_is_refused(embedder: Model, classifier: Model) -> None:
    with pytest.raises(InvalidRequest, match="model: 'tiny-embed' is not a classifier"):
        embedder.classify([PAIR])
    with pytest.raises(InvalidRequest, match="model: 'tiny-nli' is not an embedding model"):
        classifier.embed(["a"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"address": "127.0.0.1:1"}, "address: is no setting of a model"),
        ({"variant": "fastest"}, "variant 'fastest': must be one of auto, portable"),
        ({"max_text_bytes": 0}, "max_text_bytes 0: must be >= 1"),
        ({"batch_workers": True}, "batch_workers True: must be a whole number"),
        ({"max_queue_entries": 5}, "--max-request-texts 2048: must be at most --max-queue-entries"),
        ({"device": "tpu"}, "tpu"),
        ({"device": "cpu", "gpu_memory_limit": 9}, "--gpu-memory-limit: is for GPUs, and --device"),
        ({"device": "cpu", "cuda_graphs": True}, "--cuda-graphs: is for GPUs, and --device is cpu"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(
    tiny_models: Path, settings: dict[str, int], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        open_model(tiny_models / "tiny-embed", **settings)


def test_a_missing_bundle_is_refused_by_name(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(BundleError, match="nowhere"):
        open_model(tmp_path / "nowhere", device="cpu", cache_dir="none")
    own = set(threading.enumerate()) - before
    assert "semserve-model" not in {thread.name for thread in own}


def test_a_closed_model_refuses_calls_and_its_threads_end(tiny_models: Path) -> None:
    before = set(threading.enumerate())
    model = open_model(tiny_models / "tiny-embed", device="cpu", cache_dir=CALIBRATIONS)
    model.embed(["cat " * 1000])  # starts the tokenizer's thread
    own = set(threading.enumerate()) - before
    model.close()
    model.close()
    for thread in own:
        thread.join(30)
    assert own
    assert not any(thread.is_alive() for thread in own)
    with pytest.raises(Draining, match="the model is closed"):
        model.embed(["cat"])


async def test_calls_of_an_event_loop_are_answered_and_end_at_their_timeout(
    tiny_models: Path, embedder: Model
) -> None:
    directory = tiny_models / "tiny-embed"
    async with open_async_model(directory, device="cpu", cache_dir=CALIBRATIONS) as model:
        answers = await asyncio.gather(*(model.embed([text]) for text in TEXTS))
        with pytest.raises((DeadlineExceeded, Overloaded)):
            await model.embed(["cat " * 10_000] * 64, timeout=1e-6)
    for text, answer in zip(TEXTS, answers, strict=True):
        np.testing.assert_allclose(embedder.embed([text]), answer, atol=1e-5)
    with pytest.raises(Draining, match="the model is closed"):
        await model.embed(["cat"])


def test_the_library_loads_neither_grpc_nor_protobuf() -> None:
    code = (
        "import sys, semserve_server.library\n"
        "found = {'grpc', 'google', 'semserve'} & {name.split('.')[0] for name in sys.modules}\n"
        "sys.exit(str(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
