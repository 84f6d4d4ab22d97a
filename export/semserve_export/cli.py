"""The command line of the export stage. Keras is imported only by the commands that need it."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, cast, get_args

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.table import Table

from semserve_export import __version__
from semserve_export.asked import OwnModel
from semserve_export.bundle import read_manifest
from semserve_export.errors import ExportError
from semserve_export.mixing_plan import MixingPlan
from semserve_export.pairs import (
    TrainingData,
    read_pairs,
    read_unlabelled,
    without_premises_of,
)
from semserve_export.quiet import choose_backend, held_stderr
from semserve_export.recipes import RECIPES, UNTRAINED, Recipe, WordRecipe, find_recipe
from semserve_export.scored_pairs import WordTexts, read_scored_pairs, read_unscored_pairs
from semserve_export.spec import Variant
from semserve_export.training_files import TrainingFiles
from semserve_export.training_plan import TrainingPlan
from semserve_export.word_files import WordFiles
from semserve_export.word_plan import WordPlan

FAILED = 2

app = App(
    name="semserve-export",
    help="Turn KerasHub models into the bundles that semserve serves.",
    version=__version__,
    result_action="return_value",
)
console = Console()

Cache = Annotated[Path, Parameter(env_var="SEMSERVE_WEIGHTS")]
DEFAULT_VARIANTS = "fused,int8"
MODELS = Path("models")
CACHE = Path(".cache/weights")


@app.command(name="list")
def list_recipes() -> None:
    """List the models that `run` exports."""
    table = Table("name", "task", "what it is", "weights")
    for recipe in RECIPES.values():
        spec = recipe.spec
        weights = f"{recipe.weights}{' and our adapter' if recipe.adapter else ''}"
        table.add_row(spec.name, spec.task, spec.description, weights)
    console.print(table)


@app.command
def run(
    *names: str,
    output: Path = MODELS,
    variants: str = DEFAULT_VARIANTS,
    weights_cache: Cache = CACHE,
    adapter: Path | None = None,
) -> None:
    """Export models by name; an older bundle of that name is replaced once the new one is proved.

    Args:
        names: recipes, as `list` names them; `all` for every one.
        output: the directory of bundles; each goes into its own below it.
        variants: faster graphs beside the portable one: fused, int8 and fp16, with commas between
            them, or none.
        weights_cache: where downloaded weights are kept.
        adapter: a directory that `train` wrote, in place of the adapter that we keep.
    """
    if not names:
        raise ExportError(f"name a recipe, or all: {', '.join(RECIPES)}")
    recipes = [find_recipe(name) for name in (RECIPES if "all" in names else names)]
    if adapter:
        if len(recipes) != 1 or recipes[0].adapter is None:
            raise ExportError("--adapter goes with the name of one fine-tuned recipe")
        recipes = [replace(recipes[0], adapter=adapter)]
    if not adapter and (untrained := [name for name in names if name in UNTRAINED]):
        raise ExportError(f"{untrained[0]}: we keep no adapter of it; train it and give --adapter")
    chosen = _variants(variants)
    _commands().run_recipes(recipes, output, chosen, weights_cache, console)


@app.command
def keras(
    asked: Annotated[OwnModel, Parameter(name="*")],
    *,
    output: Path = MODELS,
    variants: str = DEFAULT_VARIANTS,
) -> None:
    """Export a model of your own: a KerasHub preset, a .keras file, or a Hugging Face directory.

    BERT, RoBERTa, DistilBERT, ALBERT, DeBERTa-v3 and XLM-RoBERTa. Activation, pooling, length,
    lower case and labels are what it says of itself, unless you say otherwise.

    Args:
        asked: what to export.
        output: the directory of bundles; the model goes into its own below it.
        variants: faster graphs beside the portable one: fused, int8 and fp16, with commas between
            them, or none.
    """
    chosen = _variants(variants)
    _commands().run_own(asked, output, chosen, console)


@app.command
def parity(
    path: str,
    *files: Path,
    texts: int = 100_000,
    report: Path | None = None,
) -> None:
    """Compare the tokenizer of a model of your own with KerasHub's; exit with 2 for a riddle.

    Args:
        path: the model, as `keras` takes it.
        files: further texts, one a line or a tab-separated field; .gz too.
        texts: how many are made up: odd ones, of all of Unicode.
        report: a file for every difference.
    """
    _commands("parity_commands").compare(path, texts, files, report, console)


@app.command
def verify(bundle: Path, *, source: str | None = None, weights_cache: Cache = CACHE) -> None:
    """Check a bundle's digests and golden answers, and compare it with Keras anew.

    Args:
        bundle: the directory of one bundle.
        source: what `keras` exported it from; a recipe's is known.
        weights_cache: where downloaded weights are kept.
    """
    manifest = read_manifest(bundle)
    _commands().verify(bundle, manifest, source, weights_cache, console)


@app.command
def train(
    start: str,
    /,
    files: Annotated[TrainingFiles, Parameter(name="*")],
    *,
    label: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    plan: Annotated[TrainingPlan, Parameter(name="*")] = TrainingPlan(),
    weights_cache: Cache = CACHE,
) -> None:
    """Fine-tune a classifier of pairs and keep what it learnt as an adapter, with a report.

    Args:
        start: a recipe, as `list` names it, or the directory of a preset of your own.
        files: what to learn from.
        label: the labels of a model of your own in the order of its logits, one flag each.
        plan: the numbers of the training.
        weights_cache: where downloaded weights are kept.
    """
    recipe = None if Path(start).is_dir() else find_recipe(start)
    if recipe and (not isinstance(recipe, Recipe) or not (recipe.adapter and recipe.spec.labels)):
        raise ExportError(f"{start} is not fine-tuned, so there is nothing to train")
    labels = (recipe and recipe.spec.labels) or label
    if len(labels) < 2:  # noqa: PLR2004 - a classifier chooses
        raise ExportError(f"{start}: a model of your own needs its labels, --label one by one")
    if unknown := sorted(set(plan.symmetric) - set(labels)):
        raise ExportError(f"--symmetric: no label {unknown[0]!r}; there are {', '.join(labels)}")
    if files.unlabelled and not plan.teachers:
        raise ExportError("--unlabelled needs --teachers to answer the pairs")
    data = _training_data(files, labels)
    _commands("training_commands").train_classifier(
        recipe or Path(start), labels, data, files, plan, weights_cache, console
    )


@app.command
def mix_pairs(
    *files: Path,
    output: Path,
    plan: Annotated[MixingPlan, Parameter(name="*")] = MixingPlan(),
) -> None:
    """Make new pairs of the texts of old ones, for `train --unlabelled` to have answered.

    Args:
        files: pairs, as for `train`; labels are not looked at.
        output: the file of new pairs, which ends in .jsonl or .jsonl.gz.
        plan: what is made, and how much of it.
    """
    if not files:
        raise ExportError("name a file of pairs to make new ones of")
    if not output.name.endswith((".jsonl", ".jsonl.gz")):
        raise ExportError(f"{output}: ends in neither .jsonl nor .jsonl.gz")
    if (plan.near or plan.like) and plan.embedder is None:
        raise ExportError("--near and --like need an --embedder; with 0 for both none is needed")
    from semserve_export.mixing_commands import mix_files  # noqa: PLC0415 - --help must not wait

    mix_files(files, output, plan, console)


@app.command
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
    texts = WordTexts(
        read_scored_pairs(files.scored),
        read_scored_pairs(files.validation),
        read_unscored_pairs(files.unscored) if files.unscored else None,
        files.teacher,
    )
    chosen = output or Path(".cache/adapters") / name
    _commands("word_commands").train_words(
        recipe, texts, chosen, plan, notice, weights_cache, console
    )


@app.command
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
    _commands("word_commands").measure(bundles, read_scored_pairs(pairs), variant, console)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 2, with one line, for what it cannot do."""
    try:
        app(arguments, exit_on_error=False)
    except CycloptsError:  # cyclopts has printed it
        return FAILED
    except ExportError as error:
        sys.stderr.write(f"semserve-export: {error}\n")
        return FAILED
    return 0


def _training_data(files: TrainingFiles, labels: Sequence[str]) -> TrainingData:
    training, validation = read_pairs(files.train, labels), read_pairs(files.validation, labels)
    if files.hold_out_premises:
        training = without_premises_of(training, validation)
    return TrainingData(training, validation, read_unlabelled(files.unlabelled))


def _variants(names: str) -> tuple[Variant, ...]:
    """Read a list of variants, each once and in the given order; `none` is the empty one."""
    asked = dict.fromkeys(name.strip() for name in names.split(","))
    if list(asked) == ["none"]:
        return ()
    if unknown := sorted(set(asked) - set(get_args(Variant))):
        known = ", ".join(get_args(Variant))
        raise ExportError(f"--variants: no variant {unknown[0]!r}; there are {known}, or none")
    return tuple(cast("Variant", name) for name in asked)


def _commands(module: str = "commands") -> ModuleType:
    """Import what the commands do, and Keras with it: several seconds, shown as such."""
    choose_backend()
    with console.status("Starting Keras"), held_stderr():
        return importlib.import_module(f"semserve_export.{module}")
