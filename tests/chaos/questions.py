"""Requests as bytes: good ones with their right answers, and bad ones."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError, Message
from load.wire import field
from semserve.v1 import classification_pb2, embedding_pb2, similarity_pb2

from chaos.answers import TOLERANCE, Answers, Known, Rows, nearest
from chaos.tally import Fate

EMBED = "/semserve.v1.EmbeddingService/Embed"
CLASSIFY = "/semserve.v1.ClassificationService/Classify"
COMPARE = "/semserve.v1.SimilarityService/Compare"
MATRIX = "/semserve.v1.SimilarityService/Matrix"

UNFINISHED = b"\xff"
"""The beginning of a tag that does not end: no message has it last."""
NOT_UTF8 = field(2, b"caf\xe9")
"""A text in Latin-1."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    method: str
    content: bytes
    judge: Callable[[bytes], Fate] | None = dataclasses.field(repr=False)
    """Compares a serialized answer with the right one; None where the request is bad."""


class Questions:
    """An endless supply of requests."""

    def __init__(self, answers: Answers, draw: random.Random) -> None:
        self._texts = answers.texts
        self._pairs = answers.pairs
        self._draw = draw

    def streamed(self, method: str) -> Question:
        """Return a good request of EMBED or CLASSIFY."""
        return self._embed() if method == EMBED else self._classify()

    def any(self) -> Question:
        """Return a good request of any method."""
        makers = (self._embed, self._embed, self._classify, self._compare, self._matrix)
        return self._draw.choice(makers)()

    def bad(self, method: str = EMBED) -> Question:
        """Return a request of EMBED or CLASSIFY that must be refused for what it is."""
        good = self.streamed(method).content
        contents = (
            b"",
            field(2, b""),
            field(2, b"bin\0ary") if method == EMBED else field(2, field(1, b"bin\0ary")),
            NOT_UTF8 if method == EMBED else field(2, field(1, b"caf\xe9")),
            good + b"\x28\x63" if method == EMBED else good + b"\x18\x63",  # truncation: 99
            good + field(1, b"no-such-model"),
            good + UNFINISHED,
            self._draw.randbytes(self._draw.randrange(1, 64)) + UNFINISHED,
        )
        return Question(method, self._draw.choice(contents), None)

    def _embed(self) -> Question:
        places = self._places(self._texts)
        request = embedding_pb2.EmbedRequest(texts=[self._texts.items[p] for p in places])
        return Question(
            EMBED,
            request.SerializeToString(),
            _Rows(embedding_pb2.EmbedResponse, _vectors, self._texts, places),
        )

    def _classify(self) -> Question:
        places = self._places(self._pairs)
        pairs = [self._pairs.items[p] for p in places]
        request = classification_pb2.ClassifyRequest(
            pairs=[classification_pb2.ClassifyPair(premise=p, hypothesis=h) for p, h in pairs]
        )
        return Question(
            CLASSIFY,
            request.SerializeToString(),
            _Rows(classification_pb2.ClassifyResponse, _logits, self._pairs, places),
        )

    def _compare(self) -> Question:
        left, right = self._places(self._texts), self._places(self._texts)
        size = min(len(left), len(right))
        left, right = left[:size], right[:size]
        pairs = [
            similarity_pb2.ComparePair(left=self._texts.items[one], right=self._texts.items[other])
            for one, other in zip(left, right, strict=True)
        ]
        expected = (self._texts.rows[left] * self._texts.rows[right]).sum(axis=1)
        return Question(
            COMPARE,
            similarity_pb2.CompareRequest(pairs=pairs).SerializeToString(),
            _Scores(similarity_pb2.CompareResponse, lambda answer: [answer.scores], expected[None]),
        )

    def _matrix(self) -> Question:
        left, right = self._places(self._texts), self._places(self._texts)
        request = similarity_pb2.MatrixRequest(
            left=[self._texts.items[p] for p in left], right=[self._texts.items[p] for p in right]
        )
        return Question(
            MATRIX,
            request.SerializeToString(),
            _Scores(
                similarity_pb2.MatrixResponse,
                lambda answer: [row.scores for row in answer.rows],
                self._texts.rows[left] @ self._texts.rows[right].T,
            ),
        )

    def _places(self, known: Known) -> list[int]:
        """Draw the texts of a request: one as a rule, sometimes several."""
        size = self._draw.choice((1, 1, 1, 1, 1, 1, 2, 8))
        return self._draw.choices(range(len(known.items)), k=size)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Judges an answer of one row an item."""

    kind: type[Message]
    read: Callable[[Message], Sequence[Sequence[float]]]
    known: Known
    places: list[int]

    def __call__(self, content: bytes) -> Fate:
        try:
            rows = _array(self.read(self.kind.FromString(content)))
        except (DecodeError, ValueError):
            return Fate.WRONG
        expected = self.known.rows[self.places]
        if rows.shape == expected.shape and np.abs(rows - expected).max() <= TOLERANCE:
            return Fate.RIGHT
        if rows.ndim == expected.ndim and rows.shape[1] == expected.shape[1]:
            others = [nearest(row, self.known.rows) <= TOLERANCE for row in rows]
            return Fate.MISROUTED if all(others) else Fate.WRONG
        return Fate.WRONG


@dataclass(frozen=True, slots=True)
class _Scores:
    """Judges an answer of scores."""

    kind: type[Message]
    read: Callable[[Message], Sequence[Sequence[float]]]
    expected: Rows

    def __call__(self, content: bytes) -> Fate:
        try:
            scores = _array(self.read(self.kind.FromString(content)))
        except (DecodeError, ValueError):
            return Fate.WRONG
        right = scores.shape == self.expected.shape
        return (
            Fate.RIGHT
            if right and np.abs(scores - self.expected).max() <= TOLERANCE
            else Fate.WRONG
        )


def _vectors(answer: embedding_pb2.EmbedResponse) -> Sequence[Sequence[float]]:
    return [result.embedding.values for result in answer.results]


def _logits(answer: classification_pb2.ClassifyResponse) -> Sequence[Sequence[float]]:
    return [result.classification.logits for result in answer.results]


def _array(rows: Sequence[Sequence[float]]) -> Rows:
    return np.array([np.array(row, np.float32) for row in rows])
