"""`SentenceEncoder.encode` takes arguments of sentence-transformers, or refuses them by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from semserve import Client
from semserve.integrations.sentence_transformers import SentenceEncoder

TEXTS = ["a dog", "cat sat on a mat", "sea"]


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def test_a_list_is_a_matrix_and_one_text_a_vector(client: Client) -> None:
    encoder = SentenceEncoder(client)
    vectors = encoder.encode(TEXTS, batch_size=32, show_progress_bar=False, prompt_name="query")
    expected = client.embed(TEXTS, prompt_name="query").vectors
    assert np.float32 == vectors.dtype
    np.testing.assert_array_equal(expected, vectors)
    np.testing.assert_allclose(expected[2], encoder.encode("sea", prompt_name="query"), rtol=1e-6)


def test_vectors_have_unit_length_where_this_is_asked_for(client: Client) -> None:
    encoder = SentenceEncoder(client, model="tiny-prompted")
    lengths = np.linalg.norm(encoder.encode(TEXTS, normalize_embeddings=True), axis=1)
    np.testing.assert_allclose(np.ones(3), lengths, rtol=1e-6)
    assert not np.allclose(1, np.linalg.norm(encoder.encode(TEXTS), axis=1))
    assert (3, 2) == encoder.encode(TEXTS, truncate_dim=2).shape


@pytest.mark.parametrize(
    "argument",
    [
        {"show_progress_bar": True},
        {"convert_to_tensor": True},
        {"precision": "int8"},
        {"prompt": "query: "},
        {"device": "cuda"},
        {"unknown": 1},
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(client: Client, argument: dict) -> None:
    (name,) = argument
    with pytest.raises(TypeError, match=f"^{name}: "):
        SentenceEncoder(client).encode(TEXTS, **argument)
