"""The command line of the export stage. Keras is imported only by the commands that need it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast, get_args

from cyclopts import App, CycloptsError, Parameter
from rich.table import Column, Table

from semserve_export import __version__
from semserve_export.bundle.layout import read_manifest, require_place, require_writable
from semserve_export.bundle.option_rules import require_possible
from semserve_export.cli.confined_process import run_confined
from semserve_export.cli.terminal import CACHE, Cache, commands, console
from semserve_export.cli.word_app import measure, train_words
from semserve_export.data.augmentation_plan import MixingPlan
from semserve_export.errors import ExportError
from semserve_export.failures import tell
from semserve_export.files.downloads import fetch_weights
from semserve_export.model_spec import Variant
from semserve_export.options import OwnModel, asked_before
from semserve_export.recipes import RECIPES, UNTRAINED, Recipe, find_recipe
from semserve_export.training.files import TrainingFiles
from semserve_export.training.plan import TrainingPlan
from semserve_export.untrusted.confinement import NeedsConfinement
from semserve_export.untrusted.input_files import require_readable
from semserve_export.untrusted.requirements import read_adapters, read_models

app = App(
    name="semserve-export",
    help="Turn KerasHub models into the bundles that semserve serves.",
    version=__version__,
    result_action="return_value",
)
DEFAULT_VARIANTS = "fused,int8"
MODELS = Path("models")


@app.command(name="list")
def list_recipes() -> None:
    """List the models that `run` exports."""
    name, weights = Column("name", no_wrap=True), Column("weights", overflow="fold")
    table = Table(name, "task", "what it is", weights)
    for recipe in RECIPES.values():
        spec = recipe.spec
        source = f"{recipe.weights}{' and our adapter' if recipe.adapter else ''}"
        table.add_row(spec.name, spec.task, spec.description, source)
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
    for recipe in recipes:
        require_writable(output / recipe.spec.name)
    if adapter:
        fetch_weights(recipes[0].weights, weights_cache, console)
        read_adapters([adapter], writes=[output])
    commands().run_recipes(recipes, output, chosen, weights_cache, console)


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
    require_possible(asked)
    require_writable(output / asked.served_name)
    read_models(asked.path, *([asked.tokenizer] if asked.tokenizer else []), writes=[output])
    commands().run_own(asked, output, chosen, console)


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
    require_readable(path)
    if report:
        require_place(report)
    for file in files:
        if not file.is_file():
            raise ExportError(f"{file}: no such file of texts")
    read_models(path, writes=[report.parent] if report else [])
    commands("parity_commands").compare(path, texts, files, report, console)


@app.command
def verify(
    bundle: Path,
    *,
    source: str | None = None,
    adapter: Path | None = None,
    tokenizer: str | None = None,
    strip_accents: bool | None = None,
    split_on_cjk: bool | None = None,
    weights_cache: Cache = CACHE,
) -> None:
    """Check a bundle's digests and golden answers, and compare it with Keras anew.

    Args:
        bundle: the directory of one bundle.
        source: what `keras` exported it from; a recipe's is known.
        adapter: as it was given to `keras`.
        tokenizer: as it was given to `keras`.
        strip_accents: as it was given to `keras`.
        split_on_cjk: as it was given to `keras`.
        weights_cache: where downloaded weights are kept.
    """
    manifest = read_manifest(bundle)
    if not source and (adapter or tokenizer or (strip_accents, split_on_cjk) != (None, None)):
        raise ExportError("--adapter, --tokenizer and the like go with --source")
    asked = source and asked_before(
        source,
        manifest,
        adapter=adapter,
        tokenizer=tokenizer,
        strip_accents=strip_accents,
        split_on_cjk=split_on_cjk,
    )
    if asked:
        require_possible(asked)
        read_models(asked.path, *([tokenizer] if tokenizer else []), writes=[])
    commands().verify(bundle, manifest, asked or None, weights_cache, console)


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
    if "/" in start or start.endswith(".keras"):
        require_readable(start)
        if not Path(start).is_dir():
            raise ExportError(f"{start}: is a file; train takes the directory of a preset")
    recipe = None if Path(start).is_dir() else find_recipe(start)
    require_place(files.output or Path(".cache/adapters"))
    if recipe and (not isinstance(recipe, Recipe) or not (recipe.adapter and recipe.spec.labels)):
        raise ExportError(f"{start} is not fine-tuned, so there is nothing to train")
    labels = (recipe and recipe.spec.labels) or label
    if len(labels) < 2:  # noqa: PLR2004 - a classifier chooses
        raise ExportError(f"{start}: a model of your own needs its labels, --label one by one")
    if recipe is None:
        require_readable(start)
    if unknown := sorted(set(plan.symmetric) - set(labels)):
        raise ExportError(f"--symmetric: no label {unknown[0]!r}; there are {', '.join(labels)}")
    if files.unlabelled and not plan.teachers:
        raise ExportError("--unlabelled needs --teachers to answer the pairs")
    writes = [files.output or Path(".cache/adapters") / Path(start).name, files.answers]
    if recipe is None:
        read_models(start, writes=writes, training=True)
    elif plan.start:
        fetch_weights(recipe.weights, weights_cache, console)
        read_adapters(plan.start, writes=writes)
    data = files.read(labels)
    commands("training_commands").train_classifier(
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
    require_place(output)
    if not output.name.endswith((".jsonl", ".jsonl.gz")):
        raise ExportError(f"{output}: ends in neither .jsonl nor .jsonl.gz")
    if (plan.near or plan.like) and plan.embedder is None:
        raise ExportError("--near and --like need an --embedder; with 0 for both none is needed")
    from semserve_export.cli.augmentation_commands import mix_files  # noqa: PLC0415 - --help must not wait

    mix_files(files, output, plan, console)


app.command(train_words)
app.command(measure)


@app.meta.default
def with_debug(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    debug: Annotated[bool, Parameter(env_var="SEMSERVE_DEBUG", negative=())] = False,
) -> int:
    """Run one command.

    Args:
        tokens: the command and its arguments.
        debug: show the traceback of what goes wrong.
    """
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except NeedsConfinement:
        raise
    except CycloptsError as error:
        return tell(ExportError(str(error)), debug=debug)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - each becomes one line
        return tell(error, debug=debug)
    return 0


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 2, with one line, for what it cannot do."""
    try:
        code: int | None = app.meta(arguments, exit_on_error=False, print_error=False)
    except NeedsConfinement as needed:
        return run_confined(arguments, needed.confinement)
    except CycloptsError as error:
        return tell(ExportError(str(error)), debug=False)
    return code or 0


def _variants(names: str) -> tuple[Variant, ...]:
    """Read a list of variants, each once and in the given order; `none` is the empty one."""
    asked = dict.fromkeys(name.strip() for name in names.split(","))
    if list(asked) == ["none"]:
        return ()
    if unknown := sorted(set(asked) - set(get_args(Variant))):
        known = ", ".join(get_args(Variant))
        raise ExportError(f"--variants: no variant {unknown[0]!r}; there are {known}, or none")
    return tuple(cast("Variant", name) for name in asked)
