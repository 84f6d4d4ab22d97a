"""The types of the fields of a bundle's JSON files, with their limits."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
"""Name of a model or a file: no path, no leading dot, no special characters of shells."""
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Tolerance = Annotated[float, Meta(gt=0, le=1)]
"""Largest difference of a row from its golden answer, as `golden.scaled_difference`."""
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Words = Annotated[str, Meta(max_length=512)]
Operator = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,127}$")]
"""The type of a node of an ONNX graph, such as `MatMul`."""
Label = Annotated[str, Meta(min_length=1, max_length=256)]
PromptName = Annotated[str, Meta(min_length=1, max_length=128)]
Prompt = Annotated[str, Meta(max_length=4096)]
"""A text that is put before each text; may be empty."""
Input = Literal[
    "token_ids", "segment_ids", "padding_mask", "side", "token_ids_right", "padding_mask_right"
]
"""An int32 input of the graph: `side` has the shape [batch], the others [batch, sequence]."""
TextName = Literal["premise", "hypothesis"]
Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")
"""The sides in the order of their numbers in the graph's input `side`."""
Ids = Annotated[list[int], Meta(max_length=65_536)]
Numbers = Annotated[list[float], Meta(min_length=1, max_length=65_536)]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object that allows only the declared fields."""
