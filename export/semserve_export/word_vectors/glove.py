"""GloVe: public word vectors, sorted by the frequency of their words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet
from pyarrow import ArrowInvalid

from semserve_export.encoder_weights import Array
from semserve_export.errors import WeightsError
from semserve_export.tokenizers.word_tokenizer import SPECIAL, UNKNOWN

WORDS_FILE = "glove_6B_index.parquet"
VECTORS_FILE = "glove_6B_50d_emb.npy"
FREQUENT = 20_000  # number of words for the common component
SMOOTH = 1e-4  # the `a` of smooth inverse frequency; the best of 1e-3, 3e-4 and 1e-4 on STS-B dev


@dataclass(frozen=True, slots=True)
class Glove:
    """Words, most frequent first, and a vector for each: fp32 [words, dimensions]."""

    words: tuple[str, ...]
    vectors: Array

    @classmethod
    def read(cls, directory: Path) -> "Glove":
        """Read the words and vectors in a directory of `fetch_weights`.

        Raises:
            WeightsError: a file cannot be read, or their sizes differ.
        """
        try:
            table = pyarrow.parquet.read_table(directory / WORDS_FILE)
            vectors = np.load(directory / VECTORS_FILE, allow_pickle=False)
        except (OSError, ValueError, ArrowInvalid) as error:
            raise WeightsError(f"{directory}: cannot be read as GloVe ({error})") from error
        words = tuple(table.column(0).to_pylist())
        if vectors.dtype != np.float32 or vectors.shape[:1] != (len(words),):
            raise WeightsError(
                f"{directory}: {len(words)} words, but vectors {vectors.dtype} {vectors.shape}"
            )
        return cls(words, vectors)

    def first(self, count: int) -> "Glove":
        """Keep only the most frequent words."""
        return Glove(self.words[:count], self.vectors[:count])


def word_table(glove: Glove, count: int) -> Array:
    """Return the vectors of a word tokenizer's ids: fp32 [special tokens + count, dimensions].

    `[PAD]` and `[END]` are zero. `[UNK]` is the mean of all omitted words, because an unknown word
    is as rare as these.
    """
    kept, left_out = glove.vectors[:count], glove.vectors[count:]
    special = np.zeros((len(SPECIAL), kept.shape[1]), np.float32)
    special[SPECIAL.index(UNKNOWN)] = (left_out if len(left_out) else kept).mean(axis=0)
    return np.concatenate([special, kept])


def weighted_table(glove: Glove, count: int) -> Array:
    """Return such a table for averages: weighted by rarity, without the common component.

    The smooth inverse frequency of Arora, Liang and Ma (ICLR 2017): a word of frequency p has the
    weight a / (a + p). GloVe has only the order of the words, so p follows Zipf's law: 1 / (rank +
    2.7), normalised to the sum 1. The mean and the first principal direction of the most frequent
    words are subtracted from the words; the paper subtracts them from the sentences.
    """
    table = word_table(glove, count).astype(np.float64)
    words = slice(len(SPECIAL), None)
    unknown = SPECIAL.index(UNKNOWN)
    frequent = glove.vectors[:FREQUENT].astype(np.float64)
    mean = frequent.mean(axis=0)
    direction = np.linalg.svd(frequent - mean, full_matrices=False)[2][0]
    for rows in (words, slice(unknown, unknown + 1)):
        table[rows] -= mean
        table[rows] -= np.outer(table[rows] @ direction, direction)
    ranks = np.arange(1, len(glove.words) + 1)
    frequencies = 1 / (ranks + 2.7)
    frequencies /= frequencies.sum()
    table[words] *= (SMOOTH / (SMOOTH + frequencies[:count]))[:, None]
    return table.astype(np.float32)
