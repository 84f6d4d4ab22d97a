"""The commands that train word models and measure embedders."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.bundle.layout import require_place
from semserve_export.cli.terminal import CACHE, Cache, commands, console
from semserve_export.data.scored_pairs import WordTexts, read_scored_pairs, read_unscored_pairs
from semserve_export.errors import ExportError
from semserve_export.recipes import WordRecipe, find_recipe
from semserve_export.word_vectors.word_files import WordFiles
from semserve_export.word_vectors.word_plan import WordPlan


def train_words(
    name: str,
    /,
    files: Annotated[WordFiles, Parameter(name="*")],
    *,
    output: Path | None = None,
    plan: Annotated[WordPlan, Parameter(name="*")] = WordPlan(),
    notice: str = "",
    weights_cache: Cache = CACHE,
) -> None:
    """Train a recipe over word vectors on pairs of texts, and keep what changed as an adapter.

    Args:
        name: the recipe, as `list` names it.
        files: what to learn from.
        output: the adapter's directory; `.cache/adapters/NAME` where left out.
        plan: the numbers of the training.
        notice: whose work it is, for the NOTICE of bundles: authors, licence, training data.
        weights_cache: where downloaded weights are kept.
    """
    recipe = find_recipe(name)
    if not isinstance(recipe, WordRecipe):
        raise ExportError(f"{name} has no word vectors; `train` is for classifiers")
    if files.unscored and files.teacher is None:
        raise ExportError("--unscored needs a --teacher to score them")
    require_place(output or Path(".cache/adapters"))
    texts = WordTexts(
        read_scored_pairs(files.scored),
        read_scored_pairs(files.validation),
        read_unscored_pairs(files.unscored) if files.unscored else None,
        files.teacher,
    )
    chosen = output or Path(".cache/adapters") / name
    commands("word_commands").train_words(
        recipe, texts, chosen, plan, notice, weights_cache, console
    )


def measure(
    *bundles: Path,
    pairs: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    variant: str = "portable",
) -> None:
    """Tell how well embedders score pairs that people have scored.

    Args:
        bundles: directories of embedders' bundles.
        pairs: files with columns sentence1, sentence2 and score, of any scale.
        variant: the graph to measure.
    """
    if not bundles:
        raise ExportError("name the directory of a bundle, such as models/minilm-l6-v2")
    commands("word_commands").measure(bundles, read_scored_pairs(pairs), variant, console)
