"""The figures of `serving` again, for a model of BERT-base's size with random weights.

A model of twelve layers of 768 costs eight times what MiniLM costs, so that the server's own work
hardly counts. How long a run takes does not depend on the values of the weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from load.bench import Bench
from load.figure import Figure
from load.parts import serving
from load.server import Absent
from load.servers.peer_graph import EXPORT, run_in_export
from load.servers.tei import CONFIGURATION, WEIGHTS

NAME = "base-size"
WRITER = Path(serving.__file__).parents[1] / "servers" / "random_encoder.py"
TEXTS = 300
"""Fewer than for a small model, because the bare runtime computes whole passes over them."""
LEAST_SECONDS = 4.0
"""A call of 32 texts takes 0.3 s alone, and eight of them wait."""
SMALL = 384
"""Width of the published model whose tokenizer and names of tensors are taken."""


def measure(bench: Bench) -> list[Figure]:
    """Return the figures of `serving` for the model of base size."""
    place = bench.settings.cache / "base"
    try:
        directory = _prepare(bench, place)
    except Absent as error:
        return [Figure(name=f"{NAME}: all figures", skipped=str(error))]
    settings = replace(
        bench.settings,
        models=place / "models",
        embedder=NAME,
        seconds=max(bench.settings.seconds, LEAST_SECONDS),
    )
    texts = replace(bench.texts, short=bench.texts.short[:TEXTS], long=bench.texts.long[:TEXTS])
    other = replace(bench, settings=settings, texts=texts, runs=[], facts={}, source=str(directory))
    figures = serving.measure(other)
    bench.facts[NAME] = other.facts
    bench.runs += [replace(run, part=f"{NAME} {run.part}") for run in other.runs]
    return [replace(figure, name=f"{NAME}: {figure.name}") for figure in figures]


def _prepare(bench: Bench, place: Path) -> Path:
    """Write the model's directory and export it, where that has not been done. Takes minutes.

    Raises:
        Absent: there is no environment for the export, or no model to take the tokenizer from.
    """
    directory = place / "directory"
    if not (place / "models" / NAME / "bundle.json").is_file():
        bench.tell(f"{NAME}: exporting a model with random weights")
        run_in_export(WRITER, _small(), directory)
        words = "export", directory, "--name", NAME, "--output", place / "models"
        run_in_export(EXPORT, *words)
    return directory


def _small() -> Path:
    for config in sorted(WEIGHTS.glob("*/config.json")):
        whole = all((config.parent / name).is_file() for name in CONFIGURATION)
        if whole and json.loads(config.read_text()).get("hidden_size") == SMALL:
            return config.parent
    raise Absent(f"no model of width {SMALL} under {WEIGHTS}: run `make models`")
