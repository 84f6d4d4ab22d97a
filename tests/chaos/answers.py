"""Texts and pairs with their right answers, found without the server.

Each is run alone and unpadded, by the tokenizer and the runtime themselves: nothing of the server's
own code takes part. No two answers lie close together, so that an answer tells whose it is.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

Item = str | tuple[str, str]
Rows = NDArray[np.float32]

LONGEST = 64
"""Most tokens of the tiny models; what is longer would be cut off and would prove less."""
APART = 1e-3
"""Least difference between two answers, in the value in which they differ most."""
TOLERANCE = 1e-4
"""Most that an answer may differ by for its neighbours in a batch: 1e-5 and the logits' size."""
WORDS = """
    the a an is was on in at of and not it you we they cat dog mat sits man woman child boy girl
    playing eating running walking food music guitar piano rain sunny weather train subway bus car
    city house street hello world good bad new old big small red blue green one two three zebra
    quartz 1984 naïve 中文 — ?!
"""


@dataclass(frozen=True, slots=True)
class Known:
    """Items, and the row that a model gives for each."""

    items: tuple[Item, ...]
    rows: Rows
    """Float32 [items, outputs]."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What an embedder and a classifier of pairs must answer."""

    texts: Known
    pairs: Known


def compute(models: Path, *, count: int, seed: int) -> Answers:
    """Make up `count` texts and as many pairs, and run each alone on the tiny models."""
    draw = random.Random(seed)  # noqa: S311  (made-up texts are no secret)
    texts = dict.fromkeys(_sentence(draw) for _ in range(count))
    pairs = dict.fromkeys((_sentence(draw), _sentence(draw)) for _ in range(count))
    return Answers(
        texts=_run(models / "tiny-embed", texts),
        pairs=_run(models / "tiny-nli", pairs),
    )


def _sentence(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS.split(), k=draw.choice((1, 2, 3, 4, 5, 6, 8, 12))))


def _run(bundle: Path, items: Iterable[Item]) -> Known:
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    session = ort.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    kept: list[Item] = []
    rows: list[Rows] = []
    for item in items:
        encoding = tokenizer.encode(*((item,) if isinstance(item, str) else item))
        if len(encoding.ids) > LONGEST:
            continue
        feeds = {
            "token_ids": encoding.ids,
            "segment_ids": encoding.type_ids,
            "padding_mask": encoding.attention_mask,
        }
        row = session.run(None, {name: np.array([ids], np.int32) for name, ids in feeds.items()})
        if nearest(row[0][0], rows) > APART:
            kept.append(item)
            rows.append(row[0][0])
    return Known(tuple(kept), np.array(rows))


def nearest(row: Rows, rows: list[Rows] | Rows) -> float:
    """Return how far the row is from the nearest of the rows, by their largest difference."""
    if not len(rows):
        return float("inf")
    return float(np.abs(np.asarray(rows) - row).max(axis=1).min())
