"""The texts to ask about: those of a directory where there is one, else ones we make up."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHORT_LENGTHS = ((0, 0.5, 0.9, 0.99, 1), (4, 13, 20, 31, 47))
"""Word-pieces of short questions at quantiles, special tokens included: what users search for."""
LONG_LENGTHS = ((0, 0.5, 0.9, 0.99, 1), (20, 80, 190, 330, 700))
"""The same of news and encyclopedia passages."""
SPECIAL_TOKENS = 2
WORDS = Path(__file__).with_name("words.txt")
"""Plain English words, each of them one word-piece of BERT's vocabulary."""
SEED = 20

csv.field_size_limit(10_000_000)


@dataclass(frozen=True, slots=True)
class Texts:
    """Short texts, long texts, and where they came from."""

    short: list[str]
    long: list[str]
    source: str

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each short text with the next one."""
        return list(zip(self.short, [*self.short[1:], self.short[0]], strict=True))


def read_texts(directory: Path | None, count: int) -> Texts:
    """Return `count` short and as many long texts, always the same ones.

    Args:
        directory: with `quora_questions.tsv.gz`, `ag_news_test.tsv.gz` and
            `boolq_validation.tsv.gz`; where it is None or lacks them, texts are made up of a word
            list, with the same lengths.
        count: how many.
    """
    if directory and (directory / "quora_questions.tsv.gz").is_file():
        news = _column(directory / "ag_news_test.tsv.gz", "text")
        passages = _column(directory / "boolq_validation.tsv.gz", "passage")
        return Texts(
            short=_sample(_column(directory / "quora_questions.tsv.gz", "text"), count),
            long=_sample([*_sample(news, count), *_sample(passages, count)], count),
            source="Quora questions; AG News and BoolQ passages",
        )
    return Texts(
        short=_made_up(SHORT_LENGTHS, count),
        long=_made_up(LONG_LENGTHS, count),
        source="made up from a word list, with the lengths of questions and of passages",
    )


def _column(path: Path, name: str) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [text for row in rows if (text := (row[name] or "").replace("\0", " ").strip())]


def _sample(texts: Sequence[str], count: int) -> list[str]:
    draw = random.Random(SEED)  # noqa: S311  (the same texts every time, no secret)
    return draw.sample(texts, count) if count <= len(texts) else draw.choices(texts, k=count)


def _made_up(lengths: tuple[Sequence[float], Sequence[int]], count: int) -> list[str]:
    """Join words, each of which is one word-piece, to texts with those quantiles of length."""
    draw = np.random.default_rng(SEED)
    words = WORDS.read_text().split()
    quantiles, pieces = lengths
    wanted = np.interp(draw.random(count), quantiles, pieces).astype(int)
    return [" ".join(draw.choice(words, max(size - SPECIAL_TOKENS, 1))) for size in wanted]
