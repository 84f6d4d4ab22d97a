"""Optimised graphs are mapped from files, where ONNX Runtime reads packed weights aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from semserve_server.library import open_model
from tiny_bundles import Tiny, golden, node, single, with_fused


@pytest.mark.parametrize("rows", [128, 129, 131])
def test_a_matrix_behind_a_table_of_any_size_is_served(rows: int, tmp_path: Path) -> None:
    """The matrix of a table of 129 rows begins at an odd multiple of 32 bytes."""
    random = np.random.default_rng(rows)
    table, matrix = random.normal(size=(rows, 8)), random.normal(size=(8, 160))
    expected = table[single("a dog")].mean(axis=0) @ matrix
    bundle = Tiny(
        "tiny-table",
        [
            node("Gather", "table token_ids", "vectors"),
            node("ReduceMean", "vectors", "mean", axes=[1], keepdims=0),
            node("Gemm", "mean matrix", "embedding"),
        ],
        {"table": table.astype(np.float32), "matrix": matrix.astype(np.float32)},
        {
            "task": "embedding",
            "output": "embedding",
            "pooling": "mean",
            "metric": "dot",
            "normalized": False,
            "dimensions": 160,
        },
        [golden("a dog", embedding=expected)],
    ).write(tmp_path)
    fused = with_fused(bundle, tmp_path / "models" / "tiny-table")
    for _ in range(2):  # from a new optimised graph, and from the cached one
        with open_model(fused, device="cpu", cache_dir=str(tmp_path / "cache")) as model:
            embedding = model.embed(["a dog"])[0]
        np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)
