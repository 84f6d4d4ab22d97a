"""Texts and pairs from what a caller passes.

A mapping is never read by its keys, nor a data frame by its column names: both are refused with a
TypeError that says what to write. A pair that has names, such as a record of a data frame or a
named tuple, is read by its names, whatever their order.
"""

import operator
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, SupportsIndex

from semserve.errors import InvalidRequest

# The names that the two texts of a pair may have, the schema's own first.
CLASSIFY_NAMES = (("premise", "hypothesis"), ("text", "text_pair"), ("sentence1", "sentence2"))
COMPARE_NAMES = (("left", "right"), ("sentence1", "sentence2"))
SCORE_NAMES = (
    *COMPARE_NAMES,
    ("query", "document"),
    ("premise", "hypothesis"),
    ("text", "text_pair"),
)
# Stands for a text that cannot be sent; the server refuses it, and the places stay the same.
PLACEHOLDER = ""
_PAIR = 2
# Of the schema's int32.
_LARGEST = 2**31 - 1

Failures = Mapping[int, InvalidRequest]


class Texts(NamedTuple):
    """The texts of a field, and why some of them cannot be sent, by place."""

    texts: list[str]
    failures: Failures


class Pairs(NamedTuple):
    """The pairs of a field as one or two texts each, and why some cannot be sent, by place."""

    pairs: list[tuple[str, ...]]
    failures: Failures


def as_texts(texts: Iterable[str], field: str) -> list[str]:
    """Take the texts of a field into a list.

    Raises:
        TypeError: not a list of strings; a mapping and a data frame are none.
        InvalidRequest: a text is not valid Unicode; the error names it.
    """
    return partial_texts(texts, field, allow_partial=False).texts


def partial_texts(texts: Iterable[str], field: str, *, allow_partial: bool) -> Texts:
    """Take the texts of a field; with `allow_partial`, texts that cannot be sent are told apart.

    Raises:
        TypeError: not a list of strings; a mapping and a data frame are none.
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
    """Take the pairs of the field `pairs`.

    Args:
        pairs: what the caller passed.
        names: the names that a pair's two texts may have, the schema's own first.
        single: whether a text alone is an item too.
        allow_partial: whether to tell texts that cannot be sent apart.

    Raises:
        TypeError: not a list, or an item that is neither a text nor a pair.
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
    """Give what a caller passed as a list, if it is one.

    Raises:
        TypeError: one string, bytes, a mapping, a data frame, or nothing to iterate over.
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
    """Give what a caller passed as batches; an async iterable stays as it is.

    Raises:
        TypeError: a mapping, a data frame, a string, or nothing to iterate over.
    """
    if isinstance(batches, AsyncIterable):
        return batches
    return items(batches, "batches", "lists")


def check_text(text: Any, field: str) -> None:
    """Refuse what protobuf cannot carry, with the words that the server would use.

    Raises:
        TypeError: not a string.
        InvalidRequest: half of a surrogate pair, as badly decoded bytes leave behind.
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
    """Give the text or the two texts of one item, not yet checked."""
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
    """Give an item that has names as a mapping; None where only the order says which is which."""
    if isinstance(pair, Mapping):
        return pair
    if is_dataclass(pair) and not isinstance(pair, type):
        return {one.name: getattr(pair, one.name) for one in fields(pair)}
    known = {name for both in names for name in both}
    keys = getattr(pair, "_fields", None)  # a named tuple, a row of SQLAlchemy
    if isinstance(pair, tuple) and isinstance(keys, tuple):
        # A tuple of other names is a tuple: its order says which is which.
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
    """Give the texts of an item by their names."""
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
    """Tell whether iterating gives columns or their names rather than rows."""
    columns = getattr(given, "columns", None)
    return columns is not None and not callable(columns) and not isinstance(given, type)


def as_top_k(top_k: int | None) -> int | None:
    """Return a number of hits as an `int`; where it is too low the server says so.

    Numbers past those of the wire stand for all hits, as any number past the texts does.

    Raises:
        TypeError: it is no whole number.
    """
    if top_k is None:
        return None
    if isinstance(top_k, bool) or not isinstance(top_k, SupportsIndex):
        raise TypeError(f"top_k must be a whole number, not {type(top_k).__name__}")
    return max(min(operator.index(top_k), _LARGEST), -_LARGEST)
