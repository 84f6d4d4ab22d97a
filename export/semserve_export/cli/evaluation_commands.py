"""The command `evaluate`: measures embedders on scored pairs, classifiers on labelled ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from semserve_export.bundle.layout import read_manifest
from semserve_export.bundle.runner import Embedder
from semserve_export.data.probes import Probes
from semserve_export.data.scored_pairs import ScoredPairs
from semserve_export.distillation.teacher import Teacher
from semserve_export.distillation.temperature_scaling import bins_of, expected_calibration_error
from semserve_export.training.metrics import pearson, spearman


def measure_embedders(
    bundles: Sequence[Path], pairs: ScoredPairs, variant: str, console: Console
) -> None:
    """Print the correlation of each embedder's scores with the scores of the pairs."""
    title = f"{len(pairs.pairs)} pairs of {', '.join(pairs.sha256)}"
    table = Table("model", "graph", "metric", "Spearman", "Pearson", title=title)
    people = np.array(pairs.scores)
    for directory in bundles:
        embedder = Embedder(directory, variant)
        with console.status(f"Embedding with {embedder.name}"):
            scores = embedder.score(pairs.pairs)
        figures = (f"{100 * of(scores, people):.1f}" for of in (spearman, pearson))
        table.add_row(embedder.name, variant, embedder.metric, *figures)
    console.print(table)


def measure_labels(bundles: Sequence[Path], probes: Probes, variant: str, console: Console) -> None:
    """Print the accuracy of each bundle, and on labelled pairs the calibration error.

    Raises:
        BundleError: a directory is not a complete bundle.
        ExportError: a bundle takes single texts and the files contain pairs, or the reverse.
    """
    pairs = probes.files.pairs
    labels = np.array([pair.label for pair in pairs])
    kinds = np.array(probes.kinds)
    title = f"{len(pairs)} pairs of {', '.join(probes.files.sha256)}"
    table = Table("model", "accuracy", "calibration error", *probes.every_kind, title=title)
    for directory in bundles:
        names = read_manifest(directory)["labels"]
        bundle = Teacher.read(directory, names, variant, pair=not probes.files.single)
        name = bundle.manifest["model"]
        with console.status(f"Labelling with {name}"):
            logits = bundle.ask(pairs, bundle.manifest["max_sequence_length"])
        right = logits.argmax(axis=1) == labels
        error = expected_calibration_error(bins_of(logits, labels))
        by_kind = [
            f"{right[kinds == kind].sum()}/{(kinds == kind).sum()}" for kind in probes.every_kind
        ]
        table.add_row(name, f"{right.mean():.4f}", f"{error:.4f}", *by_kind)
    console.print(table)
