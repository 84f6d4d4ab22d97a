"""Calls of scores and sparse vectors obey the keys, rates and bounds that all calls have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import tiny_kinds
from conftest import running_server
from google.protobuf.message import Message
from refusals import Refusal, refused
from semserve.v1 import model_pb2
from semserve.v1.embedding_pb2 import EmbedSparseRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve.v1.score_pb2 import RerankRequest, ScorePair, ScoreRequest
from semserve.v1.score_pb2_grpc import ScoreServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key

pytestmark = pytest.mark.xdist_group("kinds")
PAIRS = [ScorePair(left="cat", right="dog")]
SCORE = ScoreRequest(model="tiny-score", pairs=PAIRS)
RERANK = RerankRequest(model="tiny-score", query="cat", documents=["dog"])
SPARSE = EmbedSparseRequest(model="tiny-sparse", texts=["cat"])


class Keyed:
    """A server that wants keys, called with one of them."""

    def __init__(self, address: str, keys: dict[str, str]) -> None:
        self.channel = grpc.insecure_channel(address)
        self._keys = keys

    def calls(self, key: str) -> dict[str, Any]:
        scores, vectors = ScoreServiceStub(self.channel), EmbeddingServiceStub(self.channel)
        models = ModelServiceStub(self.channel)
        metadata = (("authorization", f"Bearer {self._keys[key]}"),) if key else ()

        def calling(method: Any) -> Any:
            return lambda request: method(request, metadata=metadata)

        return {
            "Score": calling(scores.Score),
            "Rerank": calling(scores.Rerank),
            "EmbedSparse": calling(vectors.EmbedSparse),
            "ListModels": calling(models.ListModels),
            "GetServerInfo": calling(models.GetServerInfo),
        }

    def refused(self, key: str, method: str, request: Message) -> Refusal:
        return refused(self.calls(key)[method], request)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A server of small bounds: a request and its answer have room for 50,000 bytes of memory."""
    models, keys = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("keys") / "keys.toml"
    tiny_kinds.scorer("tiny-score", scores="sigmoid").write(models)
    tiny_kinds.sparse().write(models)
    written = {}
    for name, allowed, rate in (
        ("all", None, None),
        ("scores", frozenset(("tiny-score",)), None),
        ("slow", None, 1),
    ):
        written[name], key = new_key(name, models=allowed, tokens_per_second=rate)
        add_key(keys, key)
    arguments = ("--models", str(models), "--device", "cpu", "--keys", str(keys))
    with running_server(*arguments, "--max-unread-bytes", "100000") as server:
        yield Keyed(server.address, written)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Score", SCORE),
        ("Rerank", RERANK),
        ("EmbedSparse", SPARSE),
        ("GetServerInfo", model_pb2.GetServerInfoRequest()),
    ],
)
def test_without_a_key_nothing_is_answered(keyed: Keyed, method: str, request_: Message) -> None:
    assert grpc.StatusCode.UNAUTHENTICATED == keyed.refused("", method, request_).code
    keyed.calls("all")[method](request_)


def test_a_key_uses_and_sees_its_own_models_alone(keyed: Keyed) -> None:
    calls = keyed.calls("scores")
    assert 1 == len(calls["Score"](SCORE).scores)
    assert grpc.StatusCode.PERMISSION_DENIED == keyed.refused("scores", "EmbedSparse", SPARSE).code
    unnamed = keyed.refused("scores", "EmbedSparse", EmbedSparseRequest(texts=["cat"]))
    assert {"model": "no loaded model is a sparse embedding model"} == unnamed.fields
    listed = calls["ListModels"](model_pb2.ListModelsRequest()).models
    assert ["tiny-score"] == [one.name for one in listed]
    info = calls["GetServerInfo"](model_pb2.GetServerInfoRequest())
    assert ["tiny-score"] == [one.model for one in info.default_models]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Score", ScoreRequest(model="tiny-score", pairs=PAIRS * 100)),
        ("Rerank", RerankRequest(model="tiny-score", query="cat", documents=["dog"] * 100)),
        ("EmbedSparse", EmbedSparseRequest(texts=["cat"] * 100)),
    ],
)
def test_the_rate_of_a_key_is_charged(keyed: Keyed, method: str, request_: Message) -> None:
    """The first request may leave a debt, of which the next one hears."""
    call = keyed.calls("slow")[method]
    try:
        call(request_)
    except grpc.RpcError as error:  # an earlier case has left one already
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == error.code()  # noqa: PT017
    refused_call = keyed.refused("slow", method, request_)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused_call.code
    assert refused_call.retry_seconds is not None


def test_an_answer_that_could_never_be_held_is_refused_and_top_k_makes_it_smaller(
    keyed: Keyed,
) -> None:
    """Each text may have 16 weights of 5 bytes, and all bytes are there twice."""
    texts = ["cat"] * 300
    error = keyed.refused("all", "EmbedSparse", EmbedSparseRequest(texts=texts))
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code
    assert "at most 50000 are allowed" in error.message
    answer = keyed.calls("all")["EmbedSparse"](EmbedSparseRequest(texts=texts, top_k=1))
    assert {1} == {len(result.indices) for result in answer.results}
