"""Reads word vectors in text formats: word2vec, GloVe, and fastText's `.vec`.

Each line is a word and its numbers, with blanks between them. word2vec and fastText begin with a
line of two numbers: the number of words and the size of a vector. A word may contain blanks, as in
GloVe, so the numbers of a line are counted from its end.
"""

import gzip
from collections.abc import Collection, Iterator
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from semserve_export.encoder_weights import Array
from semserve_export.errors import WeightsError

MOST_BYTES = 1 << 16  # of a line
MOST_LINES = 20_000_000
MOST_NUMBERS = 4096  # of a vector
FREQUENT = 100_000  # words at the start of a file, which are the most frequent, that are kept


def read_vectors(path: Path, words: Collection[str], frequent: int = FREQUENT) -> dict[str, Array]:
    """Read the vectors of the first words of a file, and of some other words.

    Only these vectors are in memory. A word that occurs twice keeps its first vector.

    Args:
        path: the file, plain or as `.gz`.
        words: words whose vectors are needed.
        frequent: number of words at the start of the file to read in any case.

    Returns:
        The vectors by word, fp32 [dimensions] each.

    Raises:
        WeightsError: the file cannot be read, or a line is not a word with numbers; the message
            contains the number of the line.
    """
    found: dict[str, Array] = {}
    size = 0
    for number, line in _lines(path):
        parts = line.split(" ")
        if number == 1 and _is_header(parts):
            size = int(parts[1])
            _require_size(path, number, size)
            continue
        if not size:
            size = len(parts) - 1
            _require_size(path, number, size)
        word = line.rsplit(" ", size)[0] if len(parts) > size else ""
        if len(parts) <= size or not word:
            count = len(parts) - 1
            raise WeightsError(f"{path}, line {number}: has {count} numbers in place of {size}")
        if (number <= frequent or word in words) and word not in found:
            found[word] = _numbers(path, number, parts[-size:])
    if not found:
        raise WeightsError(f"{path}: holds no vector of a word that is wanted")
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines, counted from 1, without trailing blanks."""
    number = 0
    try:
        with _opened(path) as file:
            while line := file.readline(MOST_BYTES):
                number += 1
                if len(line) == MOST_BYTES:
                    raise WeightsError(f"{path}, line {number}: is longer than {MOST_BYTES} bytes")
                if number > MOST_LINES:
                    raise WeightsError(f"{path}: has more than {MOST_LINES} lines")
                text = line.decode("utf-8").rstrip(" \r\n")
                if not text:
                    raise WeightsError(f"{path}, line {number}: is empty")
                yield number, text.replace("\t", " ")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}, line {number}: is no text in UTF-8") from error
    except (OSError, EOFError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


def _is_header(parts: list[str]) -> bool:
    """Return whether a line is the header of word2vec text: the number of words, and their size."""
    match parts:
        case [words, size]:
            return words.isdecimal() and size.isdecimal()
    return False


def _require_size(path: Path, number: int, size: int) -> None:
    if not 1 <= size <= MOST_NUMBERS:
        raise WeightsError(
            f"{path}, line {number}: {size} numbers a word; there may be 1 to {MOST_NUMBERS}"
        )


def _numbers(path: Path, number: int, parts: list[str]) -> Array:
    try:
        vector = np.array([float(part) for part in parts], np.float32)
    except ValueError as error:
        wrong = str(error).rpartition(": ")[2]
        raise WeightsError(f"{path}, line {number}: {wrong} is no number") from error
    if not np.isfinite(vector).all():
        raise WeightsError(f"{path}, line {number}: holds NaN or infinity")
    return vector
