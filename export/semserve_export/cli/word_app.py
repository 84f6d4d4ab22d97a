"""The commands that train word models and measure embedders."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.bundle.layout import read_manifest, require_place
from semserve_export.cli.terminal import CACHE, Cache, commands, console
from semserve_export.data.probes import OWN_PROBES, read_probes
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
    pairs: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative=())] = (),
    probes: Annotated[bool, Parameter(negative=())] = False,
    variant: str = "portable",
) -> None:
    """Measure bundles: embedders on scored pairs, or classifiers on labelled pairs.

    Args:
        bundles: directories of bundles, all embedders or all classifiers with the same labels.
        pairs: for embedders, files with columns sentence1, sentence2 and score, of any scale; for
            classifiers, files as `train` takes them, with a column kind to count by where they
            have one.
        probes: measure classifiers of entailment, neutral and contradiction on the pairs that come
            with semserve-export: synonyms, antonyms, numbers, negation and others, a kind each.
        variant: the graph to measure.
    """
    if not bundles:
        raise ExportError("name the directory of a bundle, such as models/minilm-l6-v2")
    if bool(pairs) == probes:
        raise ExportError("say --pairs FILE or --probes, one of both")
    manifests = [read_manifest(bundle) for bundle in bundles]
    labels = [manifest["labels"] for manifest in manifests]
    if any(one != labels[0] for one in labels):
        raise ExportError("the bundles have different labels; measure them one by one")
    if labels[0] is None:
        if probes:
            raise ExportError(f"--probes: {bundles[0]} has no labels")
        commands("word_commands").measure(bundles, read_scored_pairs(pairs), variant, console)
        return
    read = read_probes((OWN_PROBES,) if probes else pairs, labels[0])
    commands("evaluation_commands").measure_labels(bundles, read, variant, console)
