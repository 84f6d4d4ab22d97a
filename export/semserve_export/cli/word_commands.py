"""What the commands do that train word models and measure embedders; imported late, with Keras."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from semserve_export.bundle.runner import Embedder
from semserve_export.cli.progress import training_progress
from semserve_export.data.scored_pairs import ScoredPairs, WordTexts
from semserve_export.files.downloads import fetch_weights
from semserve_export.models.delta_adapter import write_record
from semserve_export.recipes import WordRecipe
from semserve_export.word_vectors.correlation import pearson, spearman
from semserve_export.word_vectors.glove import VECTORS_FILE
from semserve_export.word_vectors.word_plan import WordPlan
from semserve_export.word_vectors.word_training import train_encoder
from semserve_export.word_vectors.words import load_words


def train_words(
    recipe: WordRecipe,
    texts: WordTexts,
    output: Path,
    plan: WordPlan,
    notice: str,
    cache: Path,
    console: Console,
) -> None:
    """Train a recipe's word model and leave its adapter in `output`."""
    base = load_words(recipe, fetch_weights(recipe.weights, cache, console))
    teacher = Embedder(texts.teacher, plan.teacher_variant) if texts.teacher else None
    with training_progress(console) as progress:
        figures = train_encoder(base, texts, teacher, plan, output, progress)
    files = [texts.scored, *([texts.unscored] if texts.unscored else [])]
    trained_on = {name: digest for file in files for name, digest in file.sha256.items()}
    record = {
        "recipe": recipe.spec.name,
        "base": str(recipe.weights),
        "base_sha256": recipe.weights.sha256[VECTORS_FILE],
        "plan": asdict(plan),
        "teacher": teacher and {"model": teacher.name, "graph": plan.teacher_variant},
        "training_files": trained_on,
        "validation_files": texts.validation.sha256,
        "figures": figures,
        "notice": notice or f"Trained on {', '.join(trained_on)}.",
    }
    write_record(output, record)
    console.print(f"Adapter in {output}; Spearman on held-out pairs {figures['spearman']:.4f}")


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
