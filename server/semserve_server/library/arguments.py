"""Checks of the arguments of a call: the rules of the services, on Python's own values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from semserve_server import request_checks as checks
from semserve_server.errors import InvalidRequest, Violation
from semserve_server.repository.manifest import Manifest
from semserve_server.request_checks import Limits
from semserve_server.runtime.tokenizer import Item, Truncation

_TRUNCATIONS = {"end": Truncation.END, "start": Truncation.START, "none": Truncation.NONE}
SIDES = {"left": 0, "right": 1}
"""The sides of a model of two encoders, as the graph's input `side` numbers them."""
PAIR = 2
"""Texts of a pair."""
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Texts:
    """The checked texts or pairs of a call."""

    items: Sequence[Item]
    paths: Sequence[str]
    """Where each is in the call, such as `texts[3]`, for errors."""
    truncation: Truncation
    sides: Sequence[int] | None = None
    """Encoder of each text; None for a model with one encoder."""
    most_weights: int = 0
    """Number of the largest weights to keep of each sparse row; 0 for all."""


def checked_texts(field: str, texts: Sequence[str], limits: Limits) -> list[str]:
    """Return the texts of an argument.

    Raises:
        InvalidRequest: there are none or too many, or some are invalid; names each.
    """
    _refuse_single(field, texts)
    checks.count(field, len(texts), limits)
    wrong = [
        Violation(f"{field}[{at}]", problem)
        for at, text in enumerate(texts)
        if (problem := _problem(text, limits))
    ]
    if wrong:
        raise InvalidRequest(*wrong)
    return list(texts)


@dataclass(frozen=True, slots=True)
class PairWords:
    """What errors say of a pair."""

    verb: str
    """What the model does with pairs."""
    first: str
    second: str


CLASSIFIED = PairWords("classifies", "premise", "hypothesis")
SCORED = PairWords("scores", "left", "right")


def checked_pairs(
    pairs: Sequence[object], limits: Limits, words: PairWords, *, pair: bool
) -> list[Item]:
    """Return the texts or pairs to classify or score.

    Args:
        pairs: tuples of two texts for a model of pairs, else texts.
        limits: the limits.
        words: names of the two texts.
        pair: whether the model takes pairs.

    Raises:
        InvalidRequest: there are none or too many, or some are invalid; names each.
    """
    _refuse_single("pairs", pairs)
    checks.count("pairs", len(pairs), limits)
    wrong: list[Violation] = []
    items: list[Item] = []
    first, second = words.first, words.second
    takes = f"this model {words.verb} " + (f"pairs ({first}, {second})" if pair else "single texts")
    for at, one in enumerate(pairs):
        if isinstance(one, Sequence) and not isinstance(one, str):
            if len(one) != PAIR or not pair:
                wrong.append(Violation(f"pairs[{at}]", f"{len(one)} texts, but {takes}"))
                continue
            named: dict[str, Any] = {first: one[0], second: one[1]}
        elif pair:
            wrong.append(Violation(f"pairs[{at}].{second}", f"is missing: {takes}"))
            continue
        else:
            named = {first: one}
        problems = [
            Violation(f"pairs[{at}].{name}", problem)
            for name, text in named.items()
            if (problem := _problem(text, limits))
        ]
        wrong += problems[:1]
        items.append((named[first], named[second]) if pair else named[first])
    if wrong:
        raise InvalidRequest(*wrong)
    return items


def truncation(value: str | None, manifest: Manifest) -> Truncation:
    """Return the rule of the name `end`, `start` or `none`, or the model's rule for None.

    Raises:
        InvalidRequest: there is no such rule.
    """
    return choice("truncation", manifest.truncation if value is None else value, _TRUNCATIONS)


def side(value: str | None, manifest: Manifest) -> int | None:
    """Return the number of the side `left` or `right`; None for a model with one encoder.

    Raises:
        InvalidRequest: the name is unknown, or missing, or the model has one encoder.
    """
    if manifest.sides is None:
        if value is not None:
            raise InvalidRequest.of("side", "is given, but this model has one encoder for all")
        return None
    if value is None:
        raise InvalidRequest.of("side", "is missing: this model has an encoder for each side")
    return choice("side", value, SIDES)


def choice(field: str, name: object, values: Mapping[str, _Value]) -> _Value:
    """Return the value of a name.

    Raises:
        InvalidRequest: the name is unknown; has those that are known.
    """
    if not isinstance(name, str) or name not in values:
        raise InvalidRequest.of(field, f"{name!r} is not one of {', '.join(values)}")
    return values[name]


def refuse_other_type(field: str, value: object, *kinds: type) -> None:
    """Refuse an option of another type; None is no value.

    Raises:
        InvalidRequest: names the types.
    """
    if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidRequest.of(field, f"is of type {type(value).__name__}, not {names}")


def _refuse_single(field: str, texts: object) -> None:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Sequence):
        kind = type(texts).__name__
        raise InvalidRequest.of(field, f"is of type {kind}: pass a list, also for a single text")


def _problem(text: object, limits: Limits) -> str | None:
    if not isinstance(text, str):
        return f"is of type {type(text).__name__}, not str"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has a lone surrogate at {error.start}: is it binary data?"
    return checks.text(text, limits)
