"""What `evaluate` does. Importing this imports ONNX Runtime and Keras, so that it comes late."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from semserve_export.bundle.runner import Embedder
from semserve_export.data.scored_pairs import ScoredPairs
from semserve_export.word_vectors.correlation import pearson, spearman


def measure(bundles: Sequence[Path], pairs: ScoredPairs, variant: str, console: Console) -> None:
    """Print how well embedders score the pairs."""
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
