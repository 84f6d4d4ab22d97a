"""A bundle whose golden answers contradict how its manifest says that texts are read is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_kinds
from semserve_server.config import Config
from semserve_server.errors import BundleError
from semserve_server.registry.loader import load
from tiny_bundles import Tiny

CONFIG = Config(device="cpu", batch_workers=1, intra_op_threads=1, calibration_cache="none")


def changed(tiny: Tiny, **manifest: Any) -> Tiny:
    return replace(tiny, manifest={**tiny.manifest, **manifest})


def first_case(tiny: Tiny, **fields: Any) -> Tiny:
    first, *rest = tiny.golden
    return replace(tiny, golden=[{**first, **fields}, *rest])


def score() -> Tiny:
    return tiny_kinds.scorer("tiny-score", scores="none")


def sparse_with(**constants: Any) -> Tiny:
    tiny = tiny_kinds.sparse()
    return replace(tiny, constants={**tiny.constants, **constants})


BAD: dict[str, tuple[Callable[[], Tiny], str]] = {
    "the other order": (
        lambda: changed(score(), text_order=["hypothesis", "premise"]),
        r"cases\[0\] is tokenised differently",
    ),
    "single texts of a model of pairs": (
        lambda: replace(score(), golden=tiny_kinds.scorer("x", scores="none", pair=False).golden),
        r"cases\[0\] contradicts the manifest",
    ),
    "another second text": (
        lambda: first_case(tiny_kinds.separate(), token_ids_right=[2, 4, 3]),
        r"cases\[0\] is tokenised differently",
    ),
    "no side": (
        lambda: first_case(tiny_kinds.sided(), side=None),
        r"cases\[0\] has no side",
    ),
    "the other side": (
        lambda: first_case(tiny_kinds.sided(), side="right"),
        "the model differs from Keras",
    ),
    "padding at the other end": (
        lambda: changed(tiny_kinds.padded(start=True), padding="end"),
        "the model differs from Keras",
    ),
    "truncation at the other end": (
        lambda: changed(tiny_kinds.padded(start=True), truncation="end"),
        r"cases\[2\] is tokenised differently",
    ),
    "weights below 0": (
        lambda: sparse_with(one=np.float32([0.5])),
        "the model gives weights below 0",
    ),
    "a weight beyond the vocabulary": (
        lambda: first_case(tiny_kinds.sparse(), weights={"indices": [999], "values": [1.0]}),
        r"cases\[0\] has 0 outputs",
    ),
    "an input that the graph lacks": (
        lambda: changed(
            tiny_kinds.prompted(), inputs=["token_ids", "padding_mask", "side"],
            sides=["left", "right"],
        ),
        "but the manifest says",
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", tiny_kinds.KINDS, ids=lambda make: make().name)
def test_a_bundle_of_each_kind_is_served(make: Callable[[], Tiny], tmp_path: Path) -> None:
    tiny = make()
    assert tiny.name == load(CONFIG, tiny.write(tmp_path)).bundle.manifest.model


@pytest.mark.parametrize("name", BAD)
def test_what_its_golden_answers_contradict_is_refused(name: str, tmp_path: Path) -> None:
    make, says = BAD[name]
    with pytest.raises(BundleError, match=says):
        load(CONFIG, make().write(tmp_path))
