"""The nearest rows of a matrix of vectors: exactly with numpy, or with an HNSW index of usearch."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semserve.bulk.errors import MissingPackage

EXACT_ROWS = 20_000
"""Most rows that are all compared with each query. Larger matrices have an index."""
APPROXIMATE = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}
"""Metrics of an index, and their names in usearch. Other metrics are always exact."""
BLOCK_ROWS = 8192
"""Rows that are compared with a query at a time."""
MAX_FILES = 48
"""Most files in the directory of the indexes; a corpus has at most four."""

Vectors = NDArray[np.float32]
_Scores = NDArray[np.float64]


def needs_index(rows: int, metric: str) -> bool:
    """Return whether a matrix is searched with an index, which needs usearch."""
    return rows > EXACT_ROWS and metric in APPROXIMATE


def check_usearch() -> None:
    """Refuse to index without usearch.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import usearch.index  # noqa: F401, PLC0415 - of an extra
    except ImportError:
        raise MissingPackage("usearch", "search") from None


def nearest(
    file: Path, queries: Vectors, metric: str, top_k: int
) -> list[tuple[NDArray[np.int64], _Scores]]:
    """Find the rows of a file that are most similar to each query.

    Args:
        file: float32 [rows, dimensions] in numpy's format. An index is kept beside it.
        queries: float32 [queries, dimensions].
        metric: a key of `METRICS`.
        top_k: most rows for a query.

    Returns:
        For each query the rows, best first, and their scores; equal scores in the order of the
        rows. Rows with NaN are left out.

    Raises:
        MissingPackage: the file has more than `EXACT_ROWS` rows, and usearch is not installed.
        OSError: the index cannot be written.
    """
    vectors = np.load(file, mmap_mode="r")
    if not needs_index(len(vectors), metric):
        return [_best(query, vectors, np.arange(len(vectors)), metric, top_k) for query in queries]
    found = _candidates(file, vectors, queries, metric, top_k)
    return [
        _best(query, vectors, np.sort(rows), metric, top_k)
        for query, rows in zip(queries, found, strict=True)
    ]


def discard_oldest(folder: Path) -> None:
    """Delete the files that were used longest ago, beyond `MAX_FILES`."""
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MAX_FILES:]:
        path.unlink(missing_ok=True)


def _candidates(
    file: Path, vectors: Vectors, queries: Vectors, metric: str, top_k: int
) -> list[NDArray[np.int64]]:
    """Return the rows that the index finds for each query. The first search creates the index."""
    check_usearch()
    from usearch.index import Index  # noqa: PLC0415 - of an extra

    path = file.with_suffix(f".{metric}.usearch")
    index = Index(ndim=vectors.shape[1], metric=APPROXIMATE[metric], dtype="f32")
    if path.exists():
        index.view(path)
    else:
        rows = np.flatnonzero(~np.isnan(vectors[:, 0]))
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            index.add(block, vectors[block])
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        index.save(new)
        new.replace(path)
    found = (index.search(query, top_k).keys for query in queries)
    return [keys.astype(np.int64) for keys in found]


def _best(
    query: Vectors, vectors: Vectors, rows: NDArray[np.int64], metric: str, top_k: int
) -> tuple[NDArray[np.int64], _Scores]:
    """Return the best of some rows, which are in ascending order, and their scores."""
    wide = query.astype(np.float64)
    blocks = [
        METRICS[metric](wide, vectors[rows[start : start + BLOCK_ROWS]].astype(np.float64))
        for start in range(0, len(rows), BLOCK_ROWS)
    ]
    scores = np.concatenate(blocks) if blocks else np.empty(0)
    order = np.argsort(-scores, kind="stable")[:top_k]
    order = order[~np.isnan(scores[order])]
    return rows[order], scores[order]


def _cosine(query: _Scores, rows: _Scores) -> _Scores:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    cosines: _Scores = np.clip(rows @ query / np.maximum(lengths, 1e-12), -1.0, 1.0)
    return cosines


def _euclidean(query: _Scores, rows: _Scores) -> _Scores:
    distances: _Scores = -np.linalg.norm(rows - query, axis=1)
    return distances


def _manhattan(query: _Scores, rows: _Scores) -> _Scores:
    similarities: _Scores = np.exp(-np.abs(rows - query).sum(axis=1))
    return similarities


METRICS: Mapping[str, Callable[[_Scores, _Scores], _Scores]] = {
    "cosine": _cosine,
    "dot": lambda query, rows: rows @ query,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}
"""Scores of a query, float64 [dimensions], with rows, float64 [rows, dimensions]: the server's."""
