"""The implementation of the commands. It imports Keras, so the command line imports it late."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from semserve_export.api import Announce, export_from_options, export_loaded
from semserve_export.argument_names import on_the_command_line
from semserve_export.cli.terminal import step_progress
from semserve_export.errors import BundleError, ExportError, FidelityError
from semserve_export.files.downloads import fetch_weights
from semserve_export.model_spec import Variant
from semserve_export.models.loaded_model import LoadedModel, load_recipe
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_preset_recipe
from semserve_export.pipeline.distilled_roberta import load_distilled_recipe
from semserve_export.pipeline.export import STEPS, weights_of
from semserve_export.pipeline.loading import load_from_options
from semserve_export.pipeline.verify import verify_bundle
from semserve_export.recipes import (
    RECIPES,
    AnyRecipe,
    DistilledRecipe,
    PresetRecipe,
    WordRecipe,
)
from semserve_export.report import Report
from semserve_export.word_vectors.words import load_word_recipe

Export = Callable[[Path, Sequence[Variant], Announce], Report]
"""Exports one model into a directory."""


def run_recipes(
    recipes: Sequence[AnyRecipe],
    output: Path,
    variants: Sequence[Variant],
    cache: Path,
    console: Console,
) -> None:
    """Export recipes, each to its own directory in `output`."""
    for recipe in recipes:
        weights = fetch_weights(recipe.weights, cache, console)
        export = partial(_export_recipe, recipe, weights)
        name = recipe.spec.name
        _export(name, export, output / name, variants, console)


def run_export(
    options: ModelOptions, output: Path, variants: Sequence[Variant], console: Console
) -> None:
    """Export a model of the user."""
    place = output / options.served_name
    with naming_flags():
        _export(
            options.served_name, partial(export_from_options, options), place, variants, console
        )


@contextmanager
def naming_flags() -> Iterator[None]:
    """Replace argument names by flags in the messages of errors."""
    try:
        yield
    except ExportError as error:
        raise type(error)(on_the_command_line(str(error))) from error


def verify(
    directory: Path,
    manifest: Mapping[str, Any],
    source: ModelOptions | None,
    cache: Path,
    console: Console,
) -> None:
    """Measure a bundle with verified digests, and print the measurements.

    Args:
        directory: the bundle.
        manifest: the manifest of the bundle.
        source: the model of the user that was exported; None for a recipe.
        cache: directory of the downloaded weights.
        console: the terminal.

    Raises:
        FidelityError: a measurement exceeds its limit.
    """
    with step_progress(console) as progress:
        task = progress.add_task(f"{manifest['model']}: loading the original", total=2)
        model = _source(manifest, source) if source else _original(manifest, cache, console)
        progress.update(task, advance=1, description=f"{manifest['model']}: measuring")
        checks = list(verify_bundle(directory, model))
        progress.update(task, advance=1, description=f"{manifest['model']}: measured")
    table = Table("check", "measured", "at most", "", title=f"{manifest['model']}, digests hold")
    for check in checks:
        verdict = "[green]holds[/]" if check.holds else "[red]fails[/]"
        table.add_row(check.name, f"{check.measured:.2g}", f"{check.bound:.2g}", verdict)
    console.print(table)
    if model is None:
        console.print("Not compared with Keras: no recipe made it; pass --source, if you have it.")
    if failed := [check.name for check in checks if not check.holds]:
        raise FidelityError(f"{directory}: {failed[0]}: past the bound; export the model again")


def _export(
    name: str,
    export: Export,
    directory: Path,
    variants: Sequence[Variant],
    console: Console,
) -> None:
    """Export one model, and print the report."""
    with step_progress(console) as progress:
        total = 1 + STEPS + len(variants)
        task = progress.add_task(f"{name}: loading the weights", total=total)

        def announce(step: str) -> None:
            progress.update(task, advance=1, description=f"{name}: {step}")

        report = export(directory, variants, announce)
        progress.update(task, completed=total, description=f"{name}: done")
    console.print(report.table())
    for line in (*report.refused, *report.notes):
        console.print(line)


def _export_recipe(
    recipe: AnyRecipe,
    weights: Path,
    directory: Path,
    variants: Sequence[Variant],
    announce: Announce,
) -> Report:
    return export_loaded(_load(recipe, weights), directory, variants, announce)


def _load(recipe: AnyRecipe, weights: Path) -> LoadedModel:
    if isinstance(recipe, PresetRecipe):
        return load_preset_recipe(recipe, weights)
    if isinstance(recipe, DistilledRecipe):
        return load_distilled_recipe(recipe, weights)
    if isinstance(recipe, WordRecipe):
        return load_word_recipe(recipe, weights)
    return load_recipe(recipe, weights)


def _original(manifest: Mapping[str, Any], cache: Path, console: Console) -> LoadedModel | None:
    """Build the model of a bundle that was exported from a recipe."""
    recipe = RECIPES.get(manifest["model"])
    if recipe is None:
        return None
    model = _load(recipe, fetch_weights(recipe.weights, cache, console))
    return model if manifest["weights"] == weights_of(model) else None


def _source(manifest: Mapping[str, Any], options: ModelOptions) -> LoadedModel:
    """Load the user's model of a bundle, with the options of its export."""
    with naming_flags():
        model = load_from_options(options)
    recorded, found = manifest["weights"], weights_of(model)
    if recorded.get("sha256") != found["sha256"]:
        raise BundleError(f"{options.path}: has other weights than the bundle was exported from")
    if recorded.get("adapter_sha256") != found["adapter_sha256"]:
        if not options.adapter:
            raise BundleError(f"{options.path}: the bundle has an adapter; name it with --adapter")
        raise BundleError(
            f"{options.adapter}: is not the adapter that the bundle was exported with"
        )
    return model
