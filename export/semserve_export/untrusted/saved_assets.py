"""Checks the vocabularies of a saved model before a tokenizer is built from them."""

import math
from pathlib import Path
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.untrusted.json_file import read_json

LARGEST_ASSET = 64 << 20  # bytes; XLM-RoBERTa's vocabulary.spm has 5 MB
MOST_TOKENS = 4_000_000
LONGEST_LINE = 4000  # bytes of a token or of a merge
NAMES = frozenset({"vocabulary.txt", "vocabulary.json", "merges.txt", "vocabulary.spm"})


def check_assets(directory: Path) -> None:
    """Check each vocabulary in a directory, which may be missing.

    Raises:
        WeightsError: a file is not a vocabulary of KerasHub, is too large or is damaged.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            check_asset(path)


def check_asset(path: Path) -> None:
    """Check one vocabulary.

    Raises:
        WeightsError: as `check_assets`.
    """
    if path.name not in NAMES:
        raise WeightsError(f"the asset {path.name!r} is none of KerasHub's vocabularies")
    size = path.stat().st_size
    if size > LARGEST_ASSET:
        raise WeightsError(f"{path.name} has {size} bytes; at most {LARGEST_ASSET} are read")
    if path.suffix == ".json":
        _check_places(read_json(path, LARGEST_ASSET), path.name)
    elif path.suffix == ".txt":
        _check_lines(path.read_bytes(), path.name)
    else:
        _check_pieces(path.read_bytes(), path.name)


def _check_places(places: dict[str, Any], name: str) -> None:
    if len(places) > MOST_TOKENS:
        raise WeightsError(f"{name} has {len(places)} tokens; at most {MOST_TOKENS} are read")
    for token, place in places.items():
        if type(place) is not int or not 0 <= place < MOST_TOKENS:
            raise WeightsError(f"{name} gives the token {token[:80]!r} no place of a vocabulary")


def _check_lines(text: bytes, name: str) -> None:
    lines = text.split(b"\n")
    if len(lines) > MOST_TOKENS:
        raise WeightsError(f"{name} has {len(lines)} lines; at most {MOST_TOKENS} are read")
    if max(map(len, lines)) > LONGEST_LINE:
        raise WeightsError(f"{name} has a line of more than {LONGEST_LINE} bytes")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{name} is no UTF-8: {error}") from error


def _check_pieces(proto: bytes, name: str) -> None:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - only these families need it
    from sentencepiece import sentencepiece_model_pb2  # noqa: PLC0415

    model_proto: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]  # no stubs
    try:
        model = model_proto.FromString(proto)
    except DecodeError as error:
        raise WeightsError(f"{name} is no SentencePiece model: {error}") from error
    if not 0 < len(model.pieces) <= MOST_TOKENS:
        raise WeightsError(f"{name} has {len(model.pieces)} pieces; 1 to {MOST_TOKENS} are read")
    if not all(isinstance(piece.piece, str) for piece in model.pieces):
        raise WeightsError(f"{name} has a piece that is no UTF-8")
    if not all(math.isfinite(piece.score) for piece in model.pieces):
        raise WeightsError(f"{name} has a piece whose score is not finite")
    if max(len(piece.piece.encode()) for piece in model.pieces) > LONGEST_LINE:
        raise WeightsError(f"{name} has a piece of more than {LONGEST_LINE} bytes")
