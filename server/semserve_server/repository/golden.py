"""Verifies that a session reproduces the golden answers from Keras. This also warms it up."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semserve_server.errors import BundleError
from semserve_server.repository.field_types import SIDES
from semserve_server.repository.golden_answers import GoldenCase
from semserve_server.repository.manifest import Bundle
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Runner
from semserve_server.runtime.tokenizer import Tokenizer, Truncation

PADDED_ENTRIES = 4
"""Entries of a padded batch. More would only use memory, which ONNX Runtime keeps: 24 texts of
256 tokens need 330 MB, five times what serving needs."""


def verify_golden(
    bundle: Bundle, tokenizer: Tokenizer, session: Runner, *, tolerance: float
) -> float:
    """Run the inputs of the golden answers, alone and in padded batches, each in one session.

    Args:
        bundle: has the golden answers.
        tokenizer: the bundle's tokenizer.
        session: the session to verify.
        tolerance: largest permitted `scaled_difference`.

    Returns:
        The largest `scaled_difference`.

    Raises:
        BundleError: the tokenizer or the model differs from the golden answers.
    """
    path = bundle.directory / "golden.json"
    cases = bundle.golden.cases
    manifest = bundle.manifest
    rule = Truncation.START if manifest.truncation == "start" else Truncation.END
    encodings = tokenizer.encode([case.item for case in cases], rule)
    if manifest.sides is not None:
        encodings = [
            _add_side(path, *each) for each in zip(count(), cases, encodings, strict=False)
        ]
    for number, (case, encoding) in enumerate(zip(cases, encodings, strict=True)):
        if isinstance(case.item, tuple) != manifest.pair:
            raise BundleError(f"{path}: cases[{number}] contradicts the manifest's field `pair`")
        if (encoding.token_ids, encoding.segment_ids, encoding.right_ids) != (
            case.token_ids,
            case.segment_ids,
            case.token_ids_right,
        ):
            raise BundleError(
                f"{path}: cases[{number}] is tokenised differently by this server: export again"
            )
    expected_rows = [case.row(manifest.outputs) for case in cases]
    for number, row in enumerate(expected_rows):
        if row.size != manifest.outputs:
            raise BundleError(f"{path}: cases[{number}] has {row.size} outputs")
    expected = np.stack(expected_rows)
    # A lone text usually runs with all threads, and a batch beside other runs.
    alone = np.concatenate([session.run([encoding], exclusive=True) for encoding in encodings])
    padded = np.concatenate(
        [
            session.run(encodings[start : start + PADDED_ENTRIES])
            for start in range(0, len(encodings), PADDED_ENTRIES)
        ]
    )
    if manifest.task == "sparse_embedding" and min(alone.min(), padded.min()) < 0:
        raise BundleError(f"{path}: the model gives weights below 0: export again")
    differences = [scaled_difference(rows, expected) for rows in (alone, padded)]
    worst = float(np.max(differences))  # which, unlike max, tells of a NaN
    if not worst <= tolerance:
        raise BundleError(
            f"{path}: the model differs from Keras by {worst:.1e} of a row's scale, more than "
            f"{tolerance:.1e}: export again"
        )
    return worst


def _add_side(path: Path, number: int, case: GoldenCase, encoding: Encoding) -> Encoding:
    """Set the side of an encoding to the side of its golden case.

    Raises:
        BundleError: the case has no side, but the model has sides.
    """
    if case.side is None:
        raise BundleError(f"{path}: cases[{number}] has no side, but the manifest has sides")
    return replace(encoding, side=SIDES.index(case.side))


def scaled_difference(rows: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest |row - expected| / (1 + s), s the row's largest absolute value.

    NaN if any value is NaN. A tolerance t thus permits a difference of t + t * s: absolute for
    small values, and relative to the scale of the row for large ones. The export's quality gates
    use the same measure; its documentation has the reasons.

    Args:
        rows: float32 [n, outputs].
        expected: float32 [n, outputs].
    """
    scale = 1 + np.abs(expected).max(axis=1)
    return float((np.abs(rows - expected).max(axis=1) / scale).max())
