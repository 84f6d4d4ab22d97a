"""The command line of the export stage. Keras is imported only by the commands that need it."""

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
from semserve_export.pairs import TrainingData, read_pairs
from semserve_export.quiet import choose_backend, held_stderr
from semserve_export.recipes import RECIPES, find_recipe
from semserve_export.spec import Variant
from semserve_export.training_plan import TrainingPlan

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
    chosen = _variants(variants)
    _commands().run_recipes(recipes, output, chosen, weights_cache, console)


@app.command
def keras(
    asked: Annotated[OwnModel, Parameter(name="*")],
    *,
    output: Path = MODELS,
    variants: str = DEFAULT_VARIANTS,
) -> None:
    """Export a BERT of your own: a KerasHub preset, or a Hugging Face directory.

    Activation, pooling, length, lower case and labels are what the preset says, unless you say
    otherwise.

    Args:
        asked: what to export.
        output: the directory of bundles; the model goes into its own below it.
        variants: faster graphs beside the portable one: fused, int8 and fp16, with commas between
            them, or none.
    """
    chosen = _variants(variants)
    _commands().run_own(asked, output, chosen, console)


@app.command
def verify(bundle: Path, *, weights_cache: Cache = CACHE) -> None:
    """Check a bundle's digests and golden answers, and compare it with Keras anew.

    Args:
        bundle: the directory of one bundle.
        weights_cache: where downloaded weights are kept.
    """
    manifest = read_manifest(bundle)
    _commands().verify(bundle, manifest, weights_cache, console)


@app.command
def train(
    name: str,
    /,
    *,
    train: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    validation: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    output: Path | None = None,
    plan: Annotated[TrainingPlan, Parameter(name="*")] = TrainingPlan(),  # noqa: B008 - it is frozen
    notice: str = "",
    weights_cache: Cache = CACHE,
) -> None:
    """Fine-tune a classifier of pairs and keep what it learnt as an adapter.

    Args:
        name: the recipe, as `list` names it.
        train: tab-separated files, plain or .gz, with columns premise, hypothesis and label.
        validation: the same, held out.
        output: the adapter's directory; `.cache/adapters/NAME` where left out.
        plan: the numbers of the training.
        notice: whose work it is, for the NOTICE of bundles: authors, licence, training data.
        weights_cache: where downloaded weights are kept.
    """
    recipe = find_recipe(name)
    if recipe.adapter is None or recipe.spec.labels is None:
        raise ExportError(f"{name} is not fine-tuned, so there is nothing to train")
    labels = recipe.spec.labels
    data = TrainingData(read_pairs(train, labels), read_pairs(validation, labels))
    chosen = output or Path(".cache/adapters") / name
    _commands().train(recipe, data, chosen, plan, notice, weights_cache, console)


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


def _variants(names: str) -> tuple[Variant, ...]:
    """Read a list of variants, each once and in the given order; `none` is the empty one."""
    asked = dict.fromkeys(name.strip() for name in names.split(","))
    if list(asked) == ["none"]:
        return ()
    if unknown := sorted(set(asked) - set(get_args(Variant))):
        known = ", ".join(get_args(Variant))
        raise ExportError(f"--variants: no variant {unknown[0]!r}; there are {known}, or none")
    return tuple(cast("Variant", name) for name in asked)


def _commands() -> ModuleType:
    """Import what the commands do, and Keras with it: several seconds, shown as such."""
    choose_backend()
    with console.status("Starting Keras"), held_stderr():
        from semserve_export import commands  # noqa: PLC0415 - --help must not wait for Keras
    return commands
