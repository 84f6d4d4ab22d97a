"""Score models and sparse models inside a program, compared with a server over the same bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tiny_kinds
from conftest import CALIBRATIONS
from semserve.v1.embedding_pb2 import EmbedSparseRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.score_pb2 import ScorePair, ScoreRequest
from semserve.v1.score_pb2_grpc import ScoreServiceStub
from semserve_server.errors import InvalidRequest
from semserve_server.library import open_model

TEXTS = ["a", "the cat sat on the mat", " ".join(["dog"] * 100), "cat"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_kinds.write_all(tmp_path_factory.mktemp("kinds"))


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("tiny-score", [("cat sat", "a dog"), ("cat sat", "sea on a bus"), ("a", "a")]),
        ("tiny-regression", ["cat sat on", "dog", "the sea " * 100]),
    ],
)
def test_scores_have_the_same_bits_as_over_grpc(
    bundles: Path, kinds_channel: grpc.Channel, name: str, items: list[Any]
) -> None:
    stub = ScoreServiceStub(kinds_channel)
    with open_model(bundles / name, device="cpu", cache_dir=CALIBRATIONS) as model:
        for item in items:
            given = (
                {"texts": [item]}
                if isinstance(item, str)
                else {"pairs": [ScorePair(left=item[0], right=item[1])]}
            )
            remote = stub.Score(ScoreRequest(model=name, **given)).scores
            local = model.score([item])
            assert np.array(remote, np.float32).tobytes() == local.tobytes()
        together = model.score(items)
        assert ((3,), np.float32) == (together.shape, together.dtype)


@pytest.mark.parametrize("top_k", [None, 2])
def test_a_sparse_vector_has_the_same_bits_as_over_grpc(
    bundles: Path, kinds_channel: grpc.Channel, top_k: int | None
) -> None:
    stub = EmbeddingServiceStub(kinds_channel)
    with open_model(bundles / "tiny-sparse", device="cpu", cache_dir=CALIBRATIONS) as model:
        for text in TEXTS:
            request = EmbedSparseRequest(texts=[text], model="tiny-sparse", top_k=top_k)
            (remote,) = stub.EmbedSparse(request).results
            (local,) = model.embed_sparse([text], top_k=top_k)
            assert list(remote.indices) == local.indices.tolist()
            assert np.array(remote.values, np.float32).tobytes() == local.values.tobytes()
        assert len(TEXTS) == len(model.embed_sparse(TEXTS))


def test_what_they_do_not_take_is_refused_by_name(bundles: Path) -> None:
    with open_model(bundles / "tiny-score", device="cpu", cache_dir=CALIBRATIONS) as scorer:
        refusals = {
            r"pairs\[0\].right: is missing: this model scores pairs": ["alone"],
            r"pairs\[1\].left: is empty": [("a", "b"), ("", "a")],
            r"pairs\[0\]: 3 texts, but this model scores pairs": [("a", "b", "c")],
        }
        for expected, pairs in refusals.items():
            with pytest.raises(InvalidRequest, match=expected):
                scorer.score(pairs)
        with pytest.raises(InvalidRequest, match="'tiny-score' is not a sparse embedding"):
            scorer.embed_sparse(["a"])
    with open_model(bundles / "tiny-sparse", device="cpu", cache_dir=CALIBRATIONS) as sparse:
        with pytest.raises(InvalidRequest, match="top_k: 0, at least 1"):
            sparse.embed_sparse(["a"], top_k=0)
        with pytest.raises(InvalidRequest, match="top_k: is of type str, not int"):
            sparse.embed_sparse(["a"], top_k="2")
