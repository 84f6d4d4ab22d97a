"""The command line of the export stage. Keras is imported only by the commands that need it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number
from rich.table import Column, Table

from semserve_export import __version__
from semserve_export.bundle.layout import read_manifest, require_place, require_writable
from semserve_export.bundle.option_rules import require_possible
from semserve_export.bundle.prompts import read_prompts
from semserve_export.cli.confined_process import run_confined
from semserve_export.cli.evaluation_app import measure
from semserve_export.cli.terminal import CACHE, Cache, commands, console
from semserve_export.cli.training_app import mix_pairs, train, train_embedder
from semserve_export.confinement.process_limits import NeedsConfinement
from semserve_export.errors import ExportError
from semserve_export.failures import report_error
from semserve_export.files.downloads import fetch_weights
from semserve_export.model_spec import Padding, Variant
from semserve_export.number_bounds import refuse_fractions
from semserve_export.options import ModelOptions, options_of_bundle
from semserve_export.recipes import RECIPES, find_recipe
from semserve_export.untrusted.input_files import require_readable
from semserve_export.untrusted.requirements import read_adapters, read_models

app = App(
    name="semserve-export",
    help="Turn KerasHub models into the bundles that semserve serves.",
    version=__version__,
    config=refuse_fractions,
    result_action="return_value",
)
DEFAULT_VARIANTS = "fused,int8"
PairOrder = Literal["premise-hypothesis", "hypothesis-premise"]
MODELS = Path("models")
MOST_TEXTS = 1_000_000_000  # of a comparison of tokenizers


@app.command(name="list")
def list_recipes() -> None:
    """List the recipes: the models that `export --recipe` exports."""
    name, weights = Column("name", no_wrap=True), Column("weights", overflow="fold")
    table = Table(name, "task", "what it is", weights)
    for recipe in RECIPES.values():
        spec = recipe.spec
        source = f"{recipe.weights}{' and our adapter' if recipe.adapter else ''}"
        table.add_row(spec.name, spec.task, spec.description, source)
    console.print(table)


@app.command(show=False)
def run(
    *names: str,
    output: Path = MODELS,
    variants: str = DEFAULT_VARIANTS,
    weights_cache: Cache = CACHE,
    adapter: Path | None = None,
) -> None:
    """Export recipes by name. A new bundle replaces an older one after it has passed its checks.

    Args:
        names: recipes of `list`, or `all`.
        output: parent directory of the bundles.
        variants: faster graphs to add to the portable graph: fused, int8 and fp16, separated by
            commas, or none.
        weights_cache: directory of the downloaded weights.
        adapter: directory of an adapter that `train` wrote, instead of the recipe's adapter.
    """
    if not names:
        raise ExportError(f"name a recipe, or all: {', '.join(RECIPES)}")
    recipes = [find_recipe(name) for name in (RECIPES if "all" in names else names)]
    if adapter:
        if len(recipes) != 1 or recipes[0].adapter is None:
            raise ExportError("--adapter goes with the name of one fine-tuned recipe")
        recipes = [replace(recipes[0], adapter=adapter)]
    chosen = _variants(variants)
    for recipe in recipes:
        require_writable(output / recipe.spec.name)
    if adapter:
        fetch_weights(recipes[0].weights, weights_cache, console)
        read_adapters([adapter], writes=[output])
    commands().run_recipes(recipes, output, chosen, weights_cache, console)


@app.command(alias="keras")
def export(
    options: Annotated[ModelOptions, Parameter(name="*")] = ModelOptions(),
    *,
    recipe: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    pair_order: PairOrder | None = None,
    prompt: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    output: Path = MODELS,
    variants: str = DEFAULT_VARIANTS,
    weights_cache: Cache = CACHE,
) -> None:
    """Export a model: a .keras file, a KerasHub preset, a Hugging Face directory, or a recipe.

    A .keras file may contain any model of Keras's own layers that takes token ids or texts. Presets
    and directories may be of BERT, RoBERTa, DistilBERT, ALBERT, DeBERTa-v3 and XLM-RoBERTa. The
    export detects the settings of the model and prints them. Flags override detected settings, and
    specify settings that cannot be detected.

    Args:
        options: the model and its settings.
        recipe: Name of a recipe to export instead of a path: a model of `list`, or `all`. Repeat
            the flag for further recipes. --adapter, --output, --variants and --weights-cache apply.
        pair_order: The model takes pairs of texts, in this order. The tutorial of KerasHub on
            semantic similarity trains on hypothesis-premise.
        prompt: NAME=TEXT: a prompt. The server puts TEXT before the texts of requests that name the
            prompt. Repeat the flag for further prompts. The prompts of a sentence-transformers
            directory are read from its files.
        output: Parent directory of the bundles.
        variants: Faster graphs to add to the portable graph: fused, int8 and fp16, separated by
            commas, or none.
        weights_cache: Directory of the downloaded weights of recipes.
    """
    if recipe:
        if options != ModelOptions(adapter=options.adapter) or pair_order or prompt:
            raise ExportError("--recipe: takes no path and no flag that describes a model")
        run(
            *recipe,
            output=output,
            variants=variants,
            weights_cache=weights_cache,
            adapter=options.adapter,
        )
        return
    if not options.path:
        raise ExportError("name a model's path, or --recipe NAME; `list` lists the recipes")
    chosen = _variants(variants)
    if pair_order:
        first, second = pair_order.split("-")
        options = replace(options, text_order=(first, second))
    options = replace(options, prompts=read_prompts(prompt))
    require_possible(options)
    require_writable(output / options.served_name)
    read_models(options.path, *_models(options.tokenizer), writes=[output], trust=options.trust)
    commands().run_export(options, output, chosen, console)


@app.command(name="compare-tokenizers", alias="parity")
def parity(
    path: str,
    *files: Path,
    texts: Annotated[int, Parameter(validator=Number(gte=0, lte=MOST_TEXTS))] = 100_000,
    report: Path | None = None,
) -> None:
    """Compare the token ids of a model's exported tokenizer with those of KerasHub's tokenizer.

    The exit code is 2 if a difference has no known cause.

    Args:
        path: Path of the model, as for `export`.
        files: Files of further texts, one in each line or tab-separated field; also as .gz.
        texts: Number of generated texts, which contain unusual characters of all of Unicode.
        report: File to which all differences are written.
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
def verify(  # noqa: PLR0913 - each flag is as it was given to `export`
    bundle: Path,
    *,
    source: str | None = None,
    adapter: Path | None = None,
    tokenizer: str | None = None,
    strip_accents: bool | None = None,
    split_on_cjk: bool | None = None,
    padding: Padding | None = None,
    truncating: Padding | None = None,
    padded_length: int | None = None,
    trust: Annotated[bool, Parameter(negative=())] = False,
    weights_cache: Cache = CACHE,
) -> None:
    """Check a bundle's digests and golden answers, and compare it with Keras again.

    Args:
        bundle: Directory of the bundle.
        source: Path of the model that was exported; not needed for a recipe.
        adapter: The value that was passed to `export`.
        tokenizer: The value that was passed to `export`.
        strip_accents: The value that was passed to `export`.
        split_on_cjk: The value that was passed to `export`.
        padding: The value that was passed to `export`.
        truncating: The value that was passed to `export`.
        padded_length: The value that was passed to `export`.
        trust: Pass it if it was passed to `export`.
        weights_cache: Directory of the downloaded weights of recipes.
    """
    given = {
        "adapter": adapter,
        "tokenizer": tokenizer,
        "strip_accents": strip_accents,
        "split_on_cjk": split_on_cjk,
        "padding": padding,
        "truncating": truncating,
        "padded_length": padded_length,
    }
    if not source and (trust or any(value is not None for value in given.values())):
        raise ExportError("--adapter, --tokenizer and the like go with --source")
    manifest = read_manifest(bundle)
    options = source and options_of_bundle(source, manifest, **given, trust=trust)
    if options:
        require_possible(options)
        read_models(options.path, *_models(tokenizer), writes=[], trust=trust)
    commands().verify(bundle, manifest, options or None, weights_cache, console)


app.command(train)
app.command(mix_pairs)
app.command(train_embedder)
app.command(measure, name="evaluate", alias="measure")


@app.meta.default
def with_debug(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    debug: Annotated[bool, Parameter(env_var="SEMSERVE_DEBUG", negative=())] = False,
) -> int:
    """Run one command.

    Args:
        tokens: the command and its arguments.
        debug: Print the traceback of an error.
    """
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except NeedsConfinement:
        raise
    except CycloptsError as error:
        return report_error(ExportError(str(error)), debug=debug)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - each becomes one line
        return report_error(error, debug=debug)
    return 0


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 2 after an error of one line."""
    try:
        return _run(arguments)
    except (CycloptsError, KeyboardInterrupt) as error:
        failure = ExportError(str(error)) if isinstance(error, CycloptsError) else error
        return report_error(failure, debug=False)


def _run(arguments: Sequence[str]) -> int:
    try:
        code: int | None = app.meta(arguments, exit_on_error=False, print_error=False)
    except NeedsConfinement as needed:
        return run_confined(arguments, needed.confinement)
    return code or 0


def _models(tokenizer: str | None) -> list[str]:
    """Return the path of the tokenizer if it is a directory of a model, not a vocabulary file."""
    is_words = tokenizer is not None and Path(tokenizer).is_file()
    return [] if tokenizer is None or is_words else [tokenizer]


def _variants(names: str) -> tuple[Variant, ...]:
    """Parse a list of variants, in its order and without duplicates; `none` is an empty list."""
    chosen = dict.fromkeys(name.strip() for name in names.split(","))
    if list(chosen) == ["none"]:
        return ()
    if unknown := sorted(set(chosen) - set(get_args(Variant))):
        known = ", ".join(get_args(Variant))
        raise ExportError(f"--variants: no variant {unknown[0]!r}; there are {known}, or none")
    return tuple(cast("Variant", name) for name in chosen)
