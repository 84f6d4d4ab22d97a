"""Converts the caller's arguments to texts and pairs.

A mapping is never read by its keys, nor a data frame by its column names: both raise a TypeError
that says what to write. A pair with names, such as a record of a data frame or a named tuple, is
read by its names, in any order.
"""

import operator
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, SupportsIndex

from semserve.errors import InvalidRequest

# Accepted names of the two texts of a pair; the schema's names come first.
CLASSIFY_NAMES = (("premise", "hypothesis"), ("text", "text_pair"), ("sentence1", "sentence2"))
COMPARE_NAMES = (("left", "right"), ("sentence1", "sentence2"))
SCORE_NAMES = (
    *COMPARE_NAMES,
    ("query", "document"),
    ("premise", "hypothesis"),
    ("text", "text_pair"),
)
# Replaces a text that cannot be sent. The server refuses it, and the indices stay the same.
PLACEHOLDER = ""
_PAIR = 2
# Of the schema's int32.
_LARGEST = 2**31 - 1

Failures = Mapping[int, InvalidRequest]


class Texts(NamedTuple):
    """The texts of a field, and the errors of those that cannot be sent, by index."""

    texts: list[str]
    failures: Failures


class Pairs(NamedTuple):
    """The pairs of a field, as one or two texts each, and the errors by index."""

    pairs: list[tuple[str, ...]]
    failures: Failures


def as_texts(texts: Iterable[str], field: str) -> list[str]:
    """Return the texts of a field as a list.

    Raises:
        TypeError: it is not a list of strings, but for example a mapping or a data frame.
        InvalidRequest: a text is not valid Unicode; the error names it.
    """
    return partial_texts(texts, field, allow_partial=False).texts


def partial_texts(texts: Iterable[str], field: str, *, allow_partial: bool) -> Texts:
    """Return the texts of a field; with `allow_partial`, invalid texts become failures.

    Raises:
        TypeError: it is not a list of strings, but for example a mapping or a data frame.
        InvalidRequest: a text is not valid Unicode, without `allow_partial`.
    """
    listed = []
    failures: dict[int, InvalidRequest] = {}
    for place, text in enumerate(items(texts, field, "strings: write [text] for one")):
        try:
            check_text(text, f"{field}[{place}]")
        except InvalidRequest as error:
            if not allow_partial:
                raise
            failures[place] = error
            listed.append(PLACEHOLDER)
        else:
            listed.append(text)
    return Texts(listed, failures)


def as_pairs(
    pairs: Iterable[Any],
    names: Sequence[tuple[str, str]],
    *,
    single: bool,
    allow_partial: bool = False,
) -> Pairs:
    """Return the pairs of the field `pairs`.

    Args:
        pairs: the caller's argument.
        names: accepted names of a pair's two texts; the schema's names come first.
        single: whether a single text is accepted too.
        allow_partial: whether invalid texts become failures.

    Raises:
        TypeError: it is not a list, or an item is neither a text nor a pair.
        InvalidRequest: a text is not valid Unicode, without `allow_partial`.
    """
    listed: list[tuple[str, ...]] = []
    failures: dict[int, InvalidRequest] = {}
    for place, item in enumerate(items(pairs, "pairs", "pairs: write [pair] for one")):
        field = f"pairs[{place}]"
        sides = list(_sides(item, field, names, single=single))
        for side, text in enumerate(sides):
            try:
                check_text(text, f"{field}.{names[0][side]}")
            except InvalidRequest as error:
                if not allow_partial:
                    raise
                failures.setdefault(place, error)
                sides[side] = PLACEHOLDER
        listed.append(tuple(sides))
    return Pairs(listed, failures)


def items(given: Any, field: str, of_what: str) -> Iterable[Any]:
    """Return the caller's argument as an iterable, if it is a list.

    Raises:
        TypeError: it is a string, bytes, a mapping, a data frame, or not iterable.
    """
    if isinstance(given, str | bytes | bytearray | memoryview):
        raise TypeError(f"{field} must be a list of {of_what}")
    if isinstance(given, Mapping):
        raise TypeError(
            f"{field} must be a list, not a {type(given).__name__}, which is not read by its keys:"
            " pass list(mapping.values()) or list(mapping)"
        )
    if _is_frame(given):
        raise TypeError(
            f"{field} must be a list, not a {type(given).__name__}: pass one of its columns for"
            ' texts, or its rows, such as frame.to_dict("records"), for pairs'
        )
    try:
        iterator: Iterable[Any] = iter(given)
    except TypeError:
        raise TypeError(f"{field} must be a list, not {type(given).__name__}") from None
    return iterator


def batch_source(batches: Any) -> Any:
    """Return the caller's batches. An async iterable is returned unchanged.

    Raises:
        TypeError: it is a mapping, a data frame, a string, or not iterable.
    """
    if isinstance(batches, AsyncIterable):
        return batches
    return items(batches, "batches", "lists")


def check_text(text: Any, field: str) -> None:
    """Refuse a text that protobuf cannot encode, with the server's words.

    Raises:
        TypeError: it is not a string.
        InvalidRequest: it contains half of a surrogate pair, as from wrongly decoded bytes.
    """
    if not isinstance(text, str):
        raise TypeError(f"{field} must be a string, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        reason = f"not valid Unicode at character {error.start}"
        raise InvalidRequest(f"{field}: {reason}", fields={field: reason}) from None


def _sides(
    pair: Any, field: str, names: Sequence[tuple[str, str]], *, single: bool
) -> Iterable[Any]:
    """Return the text or the two texts of one item, not validated yet."""
    kind = type(pair).__name__
    wanted = f"({', '.join(names[0])})" + (" or a string" if single else "")
    if single and isinstance(pair, str):
        return (pair,)
    if isinstance(pair, str | bytes | bytearray | memoryview):
        raise TypeError(f"{field} must be {wanted}, two texts, not {kind}")
    named = _named(pair, names)
    if named is not None:
        return _by_names(named, field, names, single=single)
    if isinstance(pair, AbstractSet):
        raise TypeError(f"{field} must be {wanted}: a {kind} has no order")
    if _is_frame(pair):
        raise TypeError(f"{field} must be {wanted}, not a {kind}")
    try:
        sides = list(pair)
    except TypeError:
        raise TypeError(f"{field} must be {wanted}, not {kind}") from None
    if len(sides) != _PAIR and not (single and len(sides) == 1):
        raise TypeError(f"{field} must be {wanted}, two texts; it has {len(sides)} items")
    return sides


def _named(pair: Any, names: Sequence[tuple[str, str]]) -> Mapping[Any, Any] | None:
    """Return an item with names as a mapping; None if only its order has a meaning."""
    if isinstance(pair, Mapping):
        return pair
    if is_dataclass(pair) and not isinstance(pair, type):
        return {one.name: getattr(pair, one.name) for one in fields(pair)}
    known = {name for both in names for name in both}
    keys = getattr(pair, "_fields", None)  # a named tuple, a row of SQLAlchemy
    if isinstance(pair, tuple) and isinstance(keys, tuple):
        # A tuple with other names is read by its order.
        return dict(zip(keys, pair, strict=True)) if known & {*keys} else None
    keys = getattr(getattr(pair, "dtype", None), "names", None)  # a record of numpy
    if keys is None and callable(getattr(pair, "keys", None)):  # a row of pandas or sqlite3
        keys = list(pair.keys())
        if not all(isinstance(key, str) for key in keys):
            return None
    return None if keys is None else {key: pair[key] for key in keys}


def _by_names(
    named: Mapping[Any, Any], field: str, names: Sequence[tuple[str, str]], *, single: bool
) -> Iterable[Any]:
    """Return the texts of an item by their names."""
    for first, second in names:
        if {*named} == {first, second}:
            return named[first], named[second]
        if single and {*named} == {first}:
            return (named[first],)
    accepted = " or ".join(" and ".join(map(repr, both)) for both in names)
    if single:
        accepted += f", or {' or '.join(repr(first) for first, _ in names)} alone"
    found = ", ".join(map(repr, named)) or "none"
    raise TypeError(f"{field} has the names {found}; a pair has the names {accepted}")


def _is_frame(given: Any) -> bool:
    """Return whether iteration yields columns or their names instead of rows."""
    columns = getattr(given, "columns", None)
    return columns is not None and not callable(columns) and not isinstance(given, type)


def as_top_k(top_k: int | None) -> int | None:
    """Return a number of hits as an `int`. The server refuses numbers that are too low.

    Numbers beyond int32 mean all hits, as any number beyond the number of texts does.

    Raises:
        TypeError: it is not a whole number.
    """
    if top_k is None:
        return None
    if isinstance(top_k, bool) or not isinstance(top_k, SupportsIndex):
        raise TypeError(f"top_k must be a whole number, not {type(top_k).__name__}")
    return max(min(operator.index(top_k), _LARGEST), -_LARGEST)
