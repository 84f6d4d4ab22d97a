"""Reads texts from arguments, files with one text in each line, and standard input."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from semserve.cli.command_error import UsageError

# Replaces `-` before the flags are parsed, because the parser takes `-` for a flag. No argument of
# a process can be equal, because none contains NUL.
STANDARD_INPUT = "\0"
_PAIR = 2


def read_texts(given: Sequence[str], files: Sequence[str]) -> list[str]:
    """Read the texts of a command: its arguments, then its files, or else standard input.

    Args:
        given: the arguments; `-` means standard input.
        files: files with one text in each line; `-` means standard input. Empty lines are skipped.

    Raises:
        UsageError: there is no text, or a line is not UTF-8.
        OSError: a file cannot be read.
    """
    texts = [text for argument in given for text in _texts_of(argument)]
    texts += [line for file in _sources(given, files) for line in read_lines(file)]
    if not texts:
        raise UsageError("no text: give it as an argument, with --file, or on standard input")
    return texts


def read_pairs(given: Sequence[str], files: Sequence[str]) -> list[tuple[str, ...]]:
    """Read the pairs of a command: two arguments, or lines of two texts with a tab between.

    One argument, or a line without a tab, is a single text.

    Raises:
        UsageError: there is no pair, a pair has more than two texts, or a line is not UTF-8.
        OSError: a file cannot be read.
    """
    pairs = [tuple(given)] if given and STANDARD_INPUT not in given else []
    for file in _sources(given, files):
        pairs += [tuple(line.split("\t")) for line in read_lines(file)]
    if not pairs:
        raise UsageError(
            "no pair: give two texts, or lines of two texts with a tab between "
            "with --file or on standard input",
        )
    for pair in pairs:
        if len(pair) > _PAIR:
            raise UsageError(f"{len(pair)} texts where a pair has two: {' | '.join(pair)}")
    return pairs


def read_lines(file: str) -> Iterator[str]:
    """Read the non-empty lines of a file; `-` means standard input.

    Raises:
        UsageError: a line is not UTF-8.
        OSError: the file cannot be read.
    """
    if file == STANDARD_INPUT:
        yield from _decoded(sys.stdin.buffer, "standard input")
    else:
        with Path(file).open("rb") as lines:
            yield from _decoded(lines, file)


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(_read(lines, name), start=1):
        try:
            # Some editors start UTF-8 files with a byte order mark.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError(f"{name}: line {number} is not UTF-8") from None
        if text.strip():
            yield text


def _read(lines: Iterable[bytes], name: str) -> Iterator[bytes]:
    try:
        yield from lines
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


def _texts_of(argument: str) -> Iterable[str]:
    return read_lines(STANDARD_INPUT) if argument == STANDARD_INPUT else [argument]


def _sources(given: Sequence[str], files: Sequence[str]) -> Sequence[str]:
    """Return the files to read: the named ones, or standard input if nothing is named."""
    if given or files or sys.stdin.isatty():
        return files
    return [STANDARD_INPUT]
