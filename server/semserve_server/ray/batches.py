"""Classes for `map_batches` of Ray Data: a bundle that embeds or classifies the rows of tables.

Each is made once in every actor, opens the bundle, and adds columns to each table:

    dataset.map_batches(
        EmbedTexts,
        fn_constructor_kwargs={"bundle": "/models/minilm-l6-v2", "batch_workers": 4},
        batch_format="pyarrow", batch_size=8192, num_cpus=4,
        compute=ray.data.ActorPoolStrategy(size=8),
    )
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semserve_server.errors import JobRefused
from semserve_server.library import open_model
from semserve_server.ray.sorted_calls import Texts, sorted_calls
from semserve_server.repository.manifest import Manifest, read_manifest

VECTOR = "vector"
LABEL = "label"
ERROR = "error"
EMBED_OPTIONS = ("dimensions", "normalize", "prompt_name", "side", "truncation")
CLASSIFY_OPTIONS = ("truncation",)
NO_OPTIONS: Mapping[str, Any] = {}


class _Batches:
    """A bundle that is open in one process."""

    task: str

    def __init__(
        self,
        bundle: str | Path,
        *,
        columns: Sequence[str],
        options: Mapping[str, Any] = NO_OPTIONS,
        allow_partial: bool = False,
        **settings: Any,
    ) -> None:
        """Open the bundle.

        Args:
            bundle: its directory, on this machine.
            columns: names of the columns of texts: one, or two for a model of pairs.
            options: of an embedder `dimensions`, `normalize`, `prompt_name`, `side` and
                `truncation`, as in `semserve_server.library.Model.embed`; of a classifier
                `truncation`.
            allow_partial: whether an invalid row gets a null result in place of an error.
            settings: as in `semserve_server.library.open_model`.

        Raises:
            JobRefused: the model has another task, or an option is unknown.
            BundleError, ConfigError: as `open_model`.
        """
        self._manifest, _ = read_manifest(Path(bundle))
        check_model(self.task, self._manifest, columns, options)
        self._columns = tuple(columns)
        self._options = dict(options)
        self._allow_partial = allow_partial
        self._model = open_model(bundle, **_with_defaults(settings))

    @property
    def variant(self) -> str:
        """The graph that runs, and the provider that runs it."""
        return f"{self._model.variant} on {self._model.provider}"

    def close(self) -> None:
        """End the threads of the model, and free its memory."""
        self._model.close()


class EmbedTexts(_Batches):
    """Adds the columns `vector`, a list of float32, and `error`, the reason for a null vector."""

    task = "embedding"

    def __init__(
        self, bundle: str | Path, *, columns: Sequence[str] = ("text",), **more: Any
    ) -> None:
        """Open the bundle; `more` is as in `_Batches`."""
        super().__init__(bundle, columns=columns, **more)
        self._width = int(self._options.get("dimensions") or self._manifest.outputs)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table with the columns of the results.

        Raises:
            InvalidRow: a text is invalid, and partial results are not allowed.
            SemserveError: the model failed.
        """
        numbers, errors = sorted_calls(
            _texts(table, self._columns),
            self._vectors,
            width=self._width,
            allow_partial=self._allow_partial,
        )
        table = _appended(table, VECTOR, vectors(numbers, errors))
        return _appended(table, ERROR, reasons(len(table), errors))

    def _vectors(self, rows: list[Texts]) -> NDArray[np.float32]:
        texts: Any = [text for (text,) in rows]
        return self._model.embed(texts, **self._options)


class ClassifyTexts(_Batches):
    """Adds `label`, a column `scores_NAME` for each label, and `error`. For texts and for pairs."""

    task = "classification"

    def __init__(
        self,
        bundle: str | Path,
        *,
        columns: Sequence[str] = ("premise", "hypothesis"),
        **more: Any,
    ) -> None:
        """Open the bundle; `more` is as in `_Batches`."""
        super().__init__(bundle, columns=columns, **more)
        self._classes = tuple(self._manifest.labels or ())

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table with the columns of the results.

        Raises:
            InvalidRow: a text is invalid, and partial results are not allowed.
            SemserveError: the model failed.
        """
        numbers, errors = sorted_calls(
            _texts(table, self._columns), self._scores,
            width=len(self._classes), allow_partial=self._allow_partial,
        )  # fmt: skip
        labels = [
            None if row in errors else self._classes[best]
            for row, best in enumerate(numbers.argmax(axis=1).tolist())
        ]
        failed = _failed(len(table), errors)
        table = _appended(table, LABEL, pa.array(labels, pa.string()))
        for name, column in zip(self._classes, numbers.T, strict=True):
            scores = pa.array(np.ascontiguousarray(column), pa.float32(), mask=failed)
            table = _appended(table, f"scores_{name}", scores)
        return _appended(table, ERROR, reasons(len(table), errors))

    def close(self) -> None:
        """End the threads of the model, and free its memory."""
        self._model.close()

    def _scores(self, rows: list[Texts]) -> NDArray[np.float32]:
        given: Any = [row[0] if len(row) == 1 else row for row in rows]
        return self._model.classify(given, **self._options).scores


BATCH_CLASSES = {one.task: one for one in (EmbedTexts, ClassifyTexts)}
"""The class for the models of each task."""


def check_model(
    task: str, manifest: Manifest, columns: Sequence[str], options: Mapping[str, Any]
) -> None:
    """Refuse a model, columns or options that do not fit together.

    Raises:
        JobRefused: names what does not fit.
    """
    if manifest.task != task:
        raise JobRefused(f"model {manifest.model} is for {manifest.task}, not for {task}")
    pair = task == "classification" and manifest.pair
    if len(columns) != 1 + pair:
        takes = "two columns, premise and hypothesis" if pair else "one column of texts"
        raise JobRefused(f"model {manifest.model} takes {takes}, but {len(columns)} are named")
    known = EMBED_OPTIONS if task == "embedding" else CLASSIFY_OPTIONS
    for name in options:
        if name not in known:
            raise JobRefused(f"option {name!r} is unknown; they are: {', '.join(known)}")
    dimensions = options.get("dimensions")
    if dimensions is not None and not 1 <= dimensions <= manifest.outputs:
        raise JobRefused(f"dimensions {dimensions}: model {manifest.model} has {manifest.outputs}")


def new_columns(task: str, manifest: Manifest) -> list[str]:
    """Return the names of the columns that a class adds."""
    if task == "embedding":
        return [VECTOR, ERROR]
    return [LABEL, *(f"scores_{name}" for name in manifest.labels or ()), ERROR]


def vectors(numbers: NDArray[np.float32], errors: Mapping[int, str]) -> pa.Array:
    """Return rows of numbers as a column of lists, null for the rows that failed."""
    flat = pa.array(np.ascontiguousarray(numbers).reshape(-1))
    mask = pa.array(_failed(len(numbers), errors)) if errors else None
    return pa.FixedSizeListArray.from_arrays(flat, numbers.shape[1], mask=mask)


def reasons(rows: int, errors: Mapping[int, str]) -> pa.Array:
    """Return a column of the reasons, null for the rows that have a result."""
    return pa.array([errors.get(row) for row in range(rows)], pa.string())


def _failed(rows: int, errors: Mapping[int, str]) -> NDArray[np.bool_]:
    failed = np.zeros(rows, bool)
    failed[[*errors]] = True
    return failed


def _texts(table: pa.Table, columns: Sequence[str]) -> list[Texts]:
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


def _appended(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    if name in table.column_names:
        raise JobRefused(f"the input has a column {name!r} already: rename it")
    return table.append_column(name, column)


def _with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    # One thread for each tokenizer: more would take CPUs from the runs.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return {"intra_op_threads": 1, **settings}
