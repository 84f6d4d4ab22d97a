"""What the Python clients make of bad texts: partial answers, and requests that are too large."""

from __future__ import annotations

import numpy as np
import pytest
from semserve import InvalidRequest

PAIR = ("it rains", "it is wet")
BAD_TEXTS = ["bad \ud83d", "nul \0", "", "x" * 70_000, "x" * (5 << 20), "\udc80"]


class TestPartialAnswers:
    """With `allow_partial` a bad text of any kind has an error, and the others are answered."""

    def texts(self) -> list[str]:
        return [text for bad in BAD_TEXTS for text in (bad, "good")]

    @pytest.mark.parametrize("chunk", [256, 3])
    def test_of_embed(self, ask, server_address, chunk):
        found = ask(server_address, {"chunk": chunk}, "embed", self.texts(), allow_partial=True)
        bad = [*range(0, 12, 2)]
        assert bad == list(found.errors)
        assert bad == np.isnan(found.vectors).all(axis=1).nonzero()[0].tolist()
        for place, error in found.errors.items():
            assert isinstance(error, InvalidRequest)
            assert [f"texts[{place}]"] == list(error.fields)
        assert ["tiny-embed", 12] == [found.model, len(found)]

    @pytest.mark.parametrize("chunk", [256, 3])
    def test_of_classify(self, ask, server_address, chunk):
        pairs = [pair for bad in BAD_TEXTS for pair in (("good", bad), (bad, "good"), PAIR)]
        found = ask(server_address, {"chunk": chunk}, "classify", pairs, allow_partial=True)
        bad = [place for place in range(18) if place % 3 != 2]
        assert bad == list(found.errors)
        assert bad == np.isnan(found.scores).all(axis=1).nonzero()[0].tolist()
        assert [""] * 12 == [found.labels[place] for place in bad]
        np.testing.assert_allclose(found.logits[2], found.logits[17], atol=1e-5)

    def test_of_streams(self, ask, server_address):
        batches = [[bad, "good"] for bad in BAD_TEXTS if len(bad) < 1 << 20]
        batches += [[bad] for bad in BAD_TEXTS]
        answers = ask(server_address, {}, "stream_embed", batches, allow_partial=True)
        assert [*range(len(batches))] == sorted(answer.index for answer in answers)
        assert all([0] == list(answer.result.errors) for answer in answers)

    def test_of_nothing_but_bad_texts(self, ask, server_address):
        found = ask(server_address, {}, "embed", ["\ud83d", "\ud83d"], allow_partial=True)
        assert ([0, 1], (2, 0)) == (list(found.errors), found.vectors.shape)

    def test_are_none_of_what_is_no_text(self, ask, server_address):
        with pytest.raises(TypeError, match=r"texts\[1\]"):
            ask(server_address, {}, "embed", ["good", None], allow_partial=True)


class TestRequestsThatAreTooLarge:
    """Are the caller's to change, so nothing waits and nothing is sent again."""

    def test_are_invalid(self, ask, server_address):
        with pytest.raises(
            InvalidRequest, match=r"^texts\[0\]: the request is too large"
        ) as caught:
            ask(server_address, {}, "embed", ["x" * (17 << 20)])
        assert ["texts[0]"] == list(caught.value.fields)
        assert caught.value.too_large

    def test_are_invalid_in_a_matrix(self, ask, server_address):
        with pytest.raises(InvalidRequest, match="the request is too large"):
            ask(server_address, {}, "matrix", ["x" * (17 << 20)], ["y"])

    def test_do_not_end_a_stream(self, ask, server_address):
        answers = ask(server_address, {}, "stream_embed", [["good"], ["x" * (17 << 20)], ["good"]])
        by_index = {answer.index: answer for answer in answers}
        assert {0: None, 2: None} == {index: by_index[index].error for index in (0, 2)}
        assert isinstance(by_index[1].error, InvalidRequest)

    def test_name_the_place_in_a_long_list(self, ask, server_address):
        texts = ["a", "b", "c", "x" * (17 << 20), "d"]
        with pytest.raises(InvalidRequest, match=r"texts\[3\]"):
            ask(server_address, {"chunk": 2}, "embed", texts)

    def test_leave_room_for_queries_and_corpus(self, ask, server_address):
        """Each request of a search holds both, below the smallest limit that a server has."""
        text = "word " * 12_000
        options = {"channel_options": [("grpc.max_send_message_length", 4 << 20)]}
        found = ask(server_address, options, "search", [text] * 12, [text] * 40, top_k=1)
        assert [0] * 12 == [hits[0].index for hits in found]

    def test_of_replies_are_invalid_too(self, ask, server_address):
        options = {"channel_options": [("grpc.max_receive_message_length", 1000)]}
        with pytest.raises(InvalidRequest, match="the reply is too large") as caught:
            ask(server_address, options, "embed", ["text"] * 100)
        assert not caught.value.too_large
