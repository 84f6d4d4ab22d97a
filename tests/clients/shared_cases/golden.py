"""What the models of the tests answer, and how a case is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

BUNDLES = Path(__file__).parents[2] / "bundles"
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
            "vectors": [rounded(self.vectors[text]) for text in texts],
            "token_counts": counts,
            "truncated_tokens": [self.length(text) - len(self.ids[text]) for text in texts],
            "usage_token_count": sum(counts),
        }

    def totals(self, texts: list[str]) -> Case:
        """What a request that compares these texts answers beside its scores."""
        embedded = self.embedded(texts)
        return {
            "model": embedded["model"],
            "usage_token_count": embedded["usage_token_count"],
            "all_truncated_tokens": sum(embedded["truncated_tokens"]),
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
            "scores": [rounded(row) for row in scores],
            "logits": [rounded(row) for row in logits],
        }


def case(name: str, call: str, given: Case, expected: Case, *, server: str = "tiny") -> Case:
    return {"name": name, "server": server, "call": call, "given": given, "expect": expected}


def error(code: str, *fields: str) -> Case:
    return {"code": code, "fields": list(fields)}


def hits(scores: np.ndarray, most: int) -> list[list[float]]:
    order = np.argsort(-scores, kind="stable")[:most]
    return [[int(place), round(float(scores[place]), 7)] for place in order]


def rounded(row: Any) -> list[float]:
    return [round(float(value), 7) for value in row]


def _read(bundle: str, name: str) -> Any:
    return json.loads((BUNDLES / bundle / name).read_text(encoding="utf-8"))
