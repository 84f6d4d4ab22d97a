"""Writes cases.json, the table of cases that every client passes, from the tiny bundles.

    python tests/clients/make_cases.py [FILE]

Vectors and logits are the golden answers that Keras gave; scores and cut vectors are computed from
them here. CASES.md describes the format.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

HERE = Path(__file__).parent
BUNDLES = HERE.parent / "bundles"
EMBEDDER, CLASSIFIER = "tiny-embed", "tiny-nli"
LABELS = ["entailment", "neutral", "contradiction"]
MAX_TOKENS = 64
LARGE = {"text": "a ", "times": 16_384, "copies": 160}
"""Texts of 5 MiB, which is more than one message may have."""
BAD_ADDRESSES = (
    "localhost", "http://127.0.0.1:50051", "127.0.0.1:99999", "127.0.0.1:50 051",
)  # fmt: skip

Case = dict[str, Any]


class Golden:
    """What Keras answered for the texts and pairs of the tiny bundles."""

    def __init__(self) -> None:
        read = {name: _read(name, "golden.json")["cases"] for name in (EMBEDDER, CLASSIFIER)}
        self.texts = [case["text"] for case in read[EMBEDDER]]
        self.vectors = {case["text"]: case["embedding"] for case in read[EMBEDDER]}
        self.ids = {case["text"]: case["token_ids"] for case in read[EMBEDDER]}
        self.pairs = [[case["premise"], case["hypothesis"]] for case in read[CLASSIFIER]]
        self.logits = [case["logits"] for case in read[CLASSIFIER]]
        self.tokenizer = Tokenizer.from_file(str(BUNDLES / EMBEDDER / "tokenizer.json"))
        self.tokenizer.no_truncation()

    def rows(self, texts: list[str]) -> np.ndarray:
        """The vectors of texts, as float64 of shape (texts, 16)."""
        return np.array([self.vectors[text] for text in texts])

    def length(self, text: str) -> int:
        """The tokens of a text before truncation, special tokens included."""
        return len(self.tokenizer.encode(text).ids)

    def embedded(self, texts: list[str]) -> Case:
        """What embedding the texts answers."""
        counts = [len(self.ids[text]) for text in texts]
        return {
            "model": EMBEDDER,
            "vectors": [_rounded(self.vectors[text]) for text in texts],
            "token_counts": counts,
            "truncated_tokens": [self.length(text) - len(self.ids[text]) for text in texts],
            "usage_token_count": sum(counts),
        }

    def classified(self, places: list[int]) -> Case:
        """What classifying pairs answers; scores are the softmax of the logits."""
        logits = np.array([self.logits[place] for place in places])
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
        return {
            "model": CLASSIFIER,
            "labels": [LABELS[row.argmax()] for row in logits],
            "classes": LABELS,
            "scores": [_rounded(row) for row in scores],
            "logits": [_rounded(row) for row in logits],
        }


def table() -> Case:
    """Make the whole table."""
    golden = Golden()
    return {
        "format": 1,
        "tolerance": 1e-5,
        "cases": [
            *_embedding(golden),
            *_classification(golden),
            *_similarity(golden),
            *_models(golden),
            *_refused(golden),
            *_streams(golden),
            *_endings(golden),
            *_secured(golden),
            *_failover(golden),
        ],
    }


def _embedding(golden: Golden) -> list[Case]:
    some = [golden.texts[place] for place in (0, 1, 3, 7, 8, 12)]
    long, short = golden.texts[19], golden.texts[0]
    rows = golden.rows(some[:3])
    cut = rows[:, :8] / np.linalg.norm(rows[:, :8], axis=1, keepdims=True)
    encodings = (("values", 1e-5), ("float32", 1e-5), ("float16", 1e-3), ("int8", 5e-3))
    return [
        _case("embeds texts as Keras does", "embed", {"texts": some}, golden.embedded(some)),
        _case(
            "embeds by a model that is named",
            "embed",
            {"texts": [short], "model": EMBEDDER},
            golden.embedded([short]),
        ),
        _case(
            "tells the tokens that truncation dropped",
            "embed",
            {"texts": [short, long]},
            golden.embedded([short, long]),
        ),
        _case(
            "cuts vectors to the dimensions that are asked for",
            "embed",
            {"texts": some[:3], "dimensions": 8, "normalize": True},
            {"vectors": [_rounded(row) for row in cut]},
        ),
        *(
            _case(
                f"reads vectors that travel as {encoding}",
                "embed",
                {"texts": some[:2], "encoding": encoding},
                {"vectors": golden.embedded(some[:2])["vectors"], "tolerance": tolerance},
            )
            for encoding, tolerance in encodings
        ),
        _case(
            "answers the good texts beside the bad with partial",
            "embed",
            {"texts": [short, "", some[1]], "partial": True},
            {
                "vectors": [*golden.embedded([short])["vectors"], None,
                            *golden.embedded([some[1]])["vectors"]],
                "errors": {"1": _error("INVALID_ARGUMENT", "texts[1]")},
            },
        ),
    ]  # fmt: skip


def _classification(golden: Golden) -> list[Case]:
    places = [0, 1, 2, 10, 15]
    pairs = [golden.pairs[place] for place in places]
    bad = [pairs[0], ["only a premise"], pairs[1]]
    good = golden.classified(places[:2])
    return [
        _case(
            "classifies pairs as Keras does",
            "classify",
            {"pairs": pairs},
            golden.classified(places),
        ),
        _case(
            "names the pair that lacks a hypothesis",
            "classify",
            {"pairs": bad},
            {"error": _error("INVALID_ARGUMENT", "pairs[1].hypothesis")},
        ),
        _case(
            "classifies the good pairs beside the bad with partial",
            "classify",
            {"pairs": bad, "partial": True},
            {
                "labels": [good["labels"][0], None, good["labels"][1]],
                "scores": [good["scores"][0], None, good["scores"][1]],
                "errors": {"1": _error("INVALID_ARGUMENT", "pairs[1].hypothesis")},
            },
        ),
    ]


def _similarity(golden: Golden) -> list[Case]:
    left, right = golden.texts[:4], golden.texts[4:9]
    query, documents = golden.texts[3], golden.texts[4:9]
    a, b = golden.rows(left), golden.rows(right)
    cosine = a @ b.T
    distances = -np.linalg.norm(a[:, None] - b[None], axis=2)
    pairs = list(zip(left, right[:4], strict=True))
    return [
        _case(
            "compares pairs",
            "compare",
            {"pairs": pairs},
            {"scores": _rounded(np.diag(cosine))},
        ),
        _case(
            "compares by a metric that is named",
            "compare",
            {"pairs": pairs, "metric": "euclidean"},
            {"scores": _rounded(np.diag(distances))},
        ),
        _case(
            "ranks documents, best first",
            "rank",
            {"query": query, "documents": documents},
            {"hits": _hits(cosine[3], len(documents))},
        ),
        _case(
            "ranks no more documents than asked for",
            "rank",
            {"query": query, "documents": documents, "top_k": 2, "metric": "dot"},
            {"hits": _hits(cosine[3], 2)},
        ),
        _case(
            "searches a corpus for each query",
            "search",
            {"queries": left, "corpus": right, "top_k": 3},
            {"results": [_hits(row, 3) for row in cosine]},
        ),
        _case(
            "scores every text against every other",
            "matrix",
            {"left": left, "right": right},
            {"rows": [_rounded(row) for row in cosine]},
        ),
        _case(
            "scores a list against itself where no other is given",
            "matrix",
            {"left": left},
            {"rows": [_rounded(row) for row in a @ a.T]},
        ),
        _case(
            "reads an answer of more than 4 MiB",
            "matrix",
            {"left": [{"text": query, "copies": 1024}]},
            {"count": 1024, "each_score": 1.0},
        ),
        _case(
            "names the documents that are missing",
            "rank",
            {"query": query, "documents": []},
            {"error": _error("INVALID_ARGUMENT", "documents")},
        ),
    ]


def _models(golden: Golden) -> list[Case]:
    text = golden.texts[7]
    encoded = golden.tokenizer.encode(text)
    embedder = {
        "name": EMBEDDER, "task": "embedding", "dimensions": 16, "labels": [],
        "max_sequence_length": MAX_TOKENS, "takes_pairs": False,
    }  # fmt: skip
    classifier = {
        "name": CLASSIFIER, "task": "classification", "dimensions": 0, "labels": LABELS,
        "max_sequence_length": MAX_TOKENS, "takes_pairs": True,
    }  # fmt: skip
    return [
        _case("lists the models", "models", {}, {"models": [embedder, classifier]}),
        _case("describes a model", "model", {"model": CLASSIFIER}, {"models": [classifier]}),
        _case(
            "says that there is no such model",
            "model",
            {"model": "absent"},
            {"error": _error("NOT_FOUND")},
        ),
        _case(
            "shows how texts are tokenised",
            "tokenize",
            {"texts": [text], "model": EMBEDDER},
            {
                "results": [
                    {
                        "tokens": encoded.tokens,
                        "ids": encoded.ids,
                        "starts": [start for start, _ in encoded.offsets],
                        "ends": [end for _, end in encoded.offsets],
                        "truncated_tokens": max(0, len(encoded.ids) - MAX_TOKENS),
                    }
                ]
            },
        ),
        _case("tells that the server is ready", "health", {"model": ""}, {"serving": True}),
        _case("tells that a model is ready", "health", {"model": EMBEDDER}, {"serving": True}),
        _case(
            "does not know the health of a model that is absent",
            "health",
            {"model": "absent"},
            {"error": _error("NOT_FOUND")},
        ),
        _case(
            "may not load a model where the server does not allow it",
            "load_model",
            {"model": EMBEDDER},
            {"error": _error("PERMISSION_DENIED")},
        ),
    ]


def _refused(golden: Golden) -> list[Case]:
    good = golden.texts[0]
    return [
        _case(
            "says that there are no texts",
            "embed",
            {"texts": []},
            {"error": _error("INVALID_ARGUMENT", "texts")},
        ),
        _case(
            "names each text that is bad",
            "embed",
            {"texts": [good, "", good, "a\0b"]},
            {"error": _error("INVALID_ARGUMENT", "texts[1]", "texts[3]")},
        ),
        _case(
            "says that a model to embed with is absent",
            "embed",
            {"texts": [good], "model": "absent"},
            {"error": _error("NOT_FOUND")},
        ),
        _case(
            "does not embed with a classifier",
            "embed",
            {"texts": [good], "model": CLASSIFIER},
            {"error": _error("INVALID_ARGUMENT", "model")},
        ),
        _case(
            "refuses a text that is too long where truncation is off",
            "embed",
            {"texts": [golden.texts[19]], "truncation": "none"},
            {"error": _error("INVALID_ARGUMENT", "texts[0]")},
        ),
        _case(
            "refuses a request that is larger than a message may be",
            "tokenize",
            {"texts": [LARGE]},
            {"error": {"code": "INVALID_ARGUMENT"}},
        ),
        *(
            _case(
                f"refuses the address {address!r}",
                "connect",
                {"address": address},
                {"refused": True},
            )
            for address in BAD_ADDRESSES
        ),
        _case("refuses a key with a space", "connect", {"key": "half a key"}, {"refused": True}),
    ]  # fmt: skip


def _streams(golden: Golden) -> list[Case]:
    texts = golden.texts[:5]
    vectors = golden.embedded(texts)["vectors"]
    pairs = golden.pairs[:4]
    scores = golden.classified([0, 1, 2, 3])["scores"]
    return [
        _case(
            "answers a stream by the ids of its requests, the bad one too",
            "stream_embed",
            {
                "requests": [
                    {"id": "first", "texts": texts[:2]},
                    {"id": "bad", "texts": [texts[0], ""]},
                    {"id": "", "texts": texts[2:3]},
                    {"id": "last", "texts": texts[3:5]},
                ]
            },
            {
                "answers": {
                    "first": {"vectors": vectors[:2]},
                    "bad": {"error": _error("INVALID_ARGUMENT", "texts[1]")},
                    "": {"vectors": vectors[2:3]},
                    "last": {"vectors": vectors[3:5]},
                }
            },
        ),
        _case(
            "classifies a stream",
            "stream_classify",
            {
                "requests": [
                    {"id": "a", "pairs": pairs[:3]},
                    {"id": "b", "pairs": [["only a premise"]]},
                    {"id": "c", "pairs": pairs[3:]},
                ]
            },
            {
                "answers": {
                    "a": {"scores": scores[:3]},
                    "b": {"error": _error("INVALID_ARGUMENT", "pairs[0].hypothesis")},
                    "c": {"scores": scores[3:]},
                }
            },
        ),
        _case(
            "answers a stream without requests", "stream_embed", {"requests": []}, {"answers": {}}
        ),
        _case(
            "reads a stream of many requests no further ahead than asked",
            "stream_embed",
            {"generate": {"count": 500, "texts": texts}, "in_flight": 4},
            {"count": 500, "vectors": vectors, "max_ahead": 6},
        ),
        _case(
            "refuses a request of a stream that is larger than a message may be, and that alone",
            "stream_embed",
            {
                "requests": [
                    {"id": "large", "texts": [LARGE]},
                    {"id": "small", "texts": texts[:1]},
                ]
            },
            {
                "answers": {
                    "large": {"error": {"code": "INVALID_ARGUMENT"}},
                    "small": {"vectors": vectors[:1]},
                }
            },
        ),
        _case(
            "stops reading a stream that is left",
            "stream_embed",
            {"generate": {"count": 100_000, "texts": texts}, "in_flight": 4, "leave_after": 10},
            {"vectors": vectors, "max_ahead": 6},
        ),
    ]


def _endings(golden: Golden) -> list[Case]:
    texts = golden.texts[:1]
    return [
        _case(
            "ends a call at its deadline",
            "embed",
            {"texts": texts, "timeout_s": 0.3},
            {"error": {"code": "DEADLINE_EXCEEDED"}},
            server="silent",
        ),
        _case(
            "ends a stream at its deadline",
            "stream_embed",
            {"requests": [{"id": "a", "texts": texts}], "timeout_s": 0.3},
            {"error": {"code": "DEADLINE_EXCEEDED"}},
            server="silent",
        ),
        _case(
            "ends a call that is cancelled",
            "embed",
            {"texts": texts, "cancel": True},
            {"cancelled": True},
            server="silent",
        ),
        _case(
            "ends a stream that is cancelled",
            "stream_embed",
            {"requests": [{"id": "a", "texts": texts}], "cancel": True},
            {"cancelled": True},
            server="silent",
        ),
        _case(
            "says that nobody answers",
            "embed",
            {"texts": texts, "timeout_s": 20},
            {"error": {"code": "UNAVAILABLE"}},
            server="nobody",
        ),
    ]


def _secured(golden: Golden) -> list[Case]:
    """These spend a key's tokens a second, so their order and their number count."""
    text, long = golden.texts[0], golden.texts[19]
    good, spent = golden.embedded([text]), golden.embedded([long])["vectors"][0]
    return [
        _case(
            "refuses a caller without a key over TLS",
            "embed",
            {"texts": [text], "key": ""},
            {"error": {"code": "UNAUTHENTICATED"}},
            server="secured",
        ),
        _case(
            "spends more tokens with a key over TLS than come in a second",
            "embed",
            {"texts": [{"text": long, "copies": 3}]},
            {"count": 3, "each": spent},
            server="secured",
        ),
        _case(
            "does not wait past the deadline for an overloaded server",
            "embed",
            {"texts": [text], "timeout_s": 0.5},
            {"error": {"code": "RESOURCE_EXHAUSTED", "retry_after_s": [0.5, 3]}},
            server="secured",
        ),
        _case(
            "waits as long as an overloaded server asks",
            "embed",
            {"texts": [text]},
            {"vectors": good["vectors"]},
            server="secured",
        ),
        _case(
            "spends the key's tokens again",
            "embed",
            {"texts": [{"text": long, "copies": 2}]},
            {"count": 2, "each": spent},
            server="secured",
        ),
        _case(
            "sends a request of a stream again when an overloaded server asks",
            "stream_embed",
            {"requests": [{"id": "a", "texts": [text]}, {"id": "b", "texts": [text]}]},
            {"answers": {"a": {"vectors": good["vectors"]}, "b": {"vectors": good["vectors"]}}},
            server="secured",
        ),
    ]


def _failover(golden: Golden) -> list[Case]:
    texts = golden.texts[:5]
    vectors = golden.embedded(texts)["vectors"]
    return [
        _case(
            "fails no call where one of two servers is killed",
            "failover_calls",
            {"texts": texts, "count": 400, "at_once": 4, "stop": "first", "stop_after": 100},
            {"vectors": vectors},
            server="first+tiny",
        ),
        _case(
            "fails no stream where one of two servers is killed",
            "failover_streams",
            {"texts": texts, "count": 200, "at_once": 4, "stop": "second", "stop_after": 100},
            {"vectors": vectors},
            server="second+tiny",
        ),
    ]


def _case(name: str, call: str, given: Case, expected: Case, *, server: str = "tiny") -> Case:
    return {"name": name, "server": server, "call": call, "given": given, "expect": expected}


def _error(code: str, *fields: str) -> Case:
    return {"code": code, "fields": list(fields)}


def _hits(scores: np.ndarray, most: int) -> list[list[float]]:
    order = np.argsort(-scores, kind="stable")[:most]
    return [[int(place), round(float(scores[place]), 7)] for place in order]


def _rounded(row: Any) -> list[float]:
    return [round(float(value), 7) for value in row]


def _read(bundle: str, name: str) -> Any:
    return json.loads((BUNDLES / bundle / name).read_text(encoding="utf-8"))


def write(file: Path) -> None:
    """Write the table, a case a line."""
    made = table()
    lines = ",\n".join(f"    {json.dumps(case, ensure_ascii=False)}" for case in made.pop("cases"))
    head = json.dumps(made)[1:-1]
    file.write_text(f'{{\n  {head},\n  "cases": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "cases.json")
