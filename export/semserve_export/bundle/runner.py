"""Runs the bundle of an embedder as the server does, with its tokenizer and one of its graphs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from semserve_export.bundle.layout import TOKENIZER, read_manifest
from semserve_export.bundle.tolerance import Rows, onnx_run
from semserve_export.errors import BundleError
from semserve_export.tokenizers.bert_wordpiece import encode, pad

BATCH = 32


class Embedder:
    """Embeds texts with the default prompt, and scores pairs with the bundle's metric."""

    def __init__(self, directory: Path, variant: str = "portable") -> None:
        """Load a graph of the bundle.

        Raises:
            BundleError: the bundle is invalid, is not an embedder, or lacks the variant.
        """
        manifest = read_manifest(directory)
        if manifest["task"] != "embedding":
            raise BundleError(f"{directory}: a classifier has no vectors to compare")
        if variant not in manifest["variants"]:
            there = ", ".join(manifest["variants"])
            raise BundleError(f"{directory}: no variant {variant!r}; there are {there}")
        self.name: str = manifest["model"]
        self.metric: str = manifest["metric"]
        default = manifest.get("default_prompt")
        self._prompt: str = manifest["prompts"][default] if default else ""
        self._length: int = manifest["max_sequence_length"]
        self._tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        self._run = onnx_run(directory / manifest["variants"][variant]["file"])

    def embed(self, texts: Sequence[str], advance: Callable[[int], None] = lambda _: None) -> Rows:
        """Embed texts: fp32 [texts, dimensions].

        Args:
            texts: at least one; the same text is computed once.
            advance: called with the number of different texts that were embedded.
        """
        texts = [f"{self._prompt}{text}" for text in texts]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        encodings = encode(self._tokenizer, places, self._length)
        order = sorted(range(len(encodings)), key=lambda place: len(encodings[place]))
        parts = []
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]  # of similar length, so with little padding
            parts.append(self._run(pad([encodings[place] for place in batch])))
            advance(len(batch))
        rows = np.empty((len(order), parts[0].shape[1]), np.float32)
        rows[order] = np.concatenate(parts)
        return rows[[places[text] for text in texts]]

    def score(self, pairs: Sequence[tuple[str, str]]) -> Rows:
        """Score pairs by the bundle's metric: fp32 [pairs], higher is more similar."""
        rows = self.embed([text for pair in pairs for text in pair])
        return METRICS[self.metric](rows[::2], rows[1::2])


def _cosine(left: Rows, right: Rows) -> Rows:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products = np.sum(left * right, axis=1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), np.float32(0))


def _manhattan(left: Rows, right: Rows) -> Rows:
    """Return exp(-L1), the similarity of Mueller and Thyagarajan's Siamese LSTM (AAAI 2016)."""
    return np.asarray(np.exp(-np.abs(left - right).sum(axis=1)))


METRICS: dict[str, Callable[[Rows, Rows], Rows]] = {
    "cosine": _cosine,
    "dot": lambda left, right: np.asarray(np.sum(left * right, axis=1)),
    "euclidean": lambda left, right: np.asarray(-np.linalg.norm(left - right, axis=1)),
    "manhattan": _manhattan,
}
