"""What the commands do. Importing this imports Keras, so the command line does it late."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from semserve_export.adapter import write_record
from semserve_export.asked import OwnModel
from semserve_export.errors import FidelityError
from semserve_export.export import STEPS, export_model, weights_of
from semserve_export.model import (
    WEIGHTS_FILE,
    LoadedModel,
    load_base_classifier,
    load_recipe,
    load_tokenizer,
)
from semserve_export.own import load_own
from semserve_export.pair_batches import EncodedPairs
from semserve_export.pairs import TrainingData
from semserve_export.progress import step_progress, training_progress
from semserve_export.recipes import RECIPES, Recipe
from semserve_export.spec import Variant
from semserve_export.train import fine_tune, seed_everything
from semserve_export.training_plan import TrainingPlan
from semserve_export.verify import verify_bundle
from semserve_export.weights import fetch_weights


def run_recipes(
    recipes: Sequence[Recipe],
    output: Path,
    variants: Sequence[Variant],
    cache: Path,
    console: Console,
) -> None:
    """Export recipes, each into its own directory below `output`."""
    for recipe in recipes:
        weights = fetch_weights(recipe.weights, cache, console)
        load = partial(load_recipe, recipe, weights)
        _export(recipe.spec.name, load, output, variants, console)


def run_own(asked: OwnModel, output: Path, variants: Sequence[Variant], console: Console) -> None:
    """Export a user's own model."""
    _export(asked.name, partial(load_own, asked), output, variants, console)


def verify(directory: Path, manifest: Mapping[str, Any], cache: Path, console: Console) -> None:
    """Measure a bundle whose digests hold, and print what was measured.

    Raises:
        FidelityError: a measure is past its bound.
    """
    with step_progress(console) as progress:
        task = progress.add_task(f"{manifest['model']}: loading the original", total=2)
        model = _original(manifest, cache, console)
        progress.update(task, advance=1, description=f"{manifest['model']}: measuring")
        checks = list(verify_bundle(directory, model))
        progress.update(task, advance=1, description=f"{manifest['model']}: measured")
    table = Table("check", "measured", "at most", "", title=f"{manifest['model']}, digests hold")
    for check in checks:
        verdict = "[green]holds[/]" if check.holds else "[red]fails[/]"
        table.add_row(check.name, f"{check.measured:.2g}", f"{check.bound:.2g}", verdict)
    console.print(table)
    if model is None:
        console.print("Not compared with Keras: no recipe of this version made this bundle.")
    if failed := [check.name for check in checks if not check.holds]:
        raise FidelityError(f"{directory}: {failed[0]}: past the bound; export the model again")


def train(
    recipe: Recipe,
    data: TrainingData,
    output: Path,
    plan: TrainingPlan,
    notice: str,
    cache: Path,
    console: Console,
) -> None:
    """Fine-tune a recipe's classifier and leave its adapter in `output`."""
    weights = fetch_weights(recipe.weights, cache, console)
    tokenizer = load_tokenizer(recipe, weights)
    seed_everything(plan.seed)
    with training_progress(console) as progress:
        figures = fine_tune(
            load_base_classifier(recipe, weights, dropout=plan.dropout),
            plan,
            EncodedPairs.of(tokenizer, data.training.pairs, plan.max_tokens),
            EncodedPairs.of(tokenizer, data.validation.pairs, plan.max_tokens),
            output,
            progress,
        )
    record = {
        "recipe": recipe.spec.name,
        "base": str(recipe.weights),
        "base_sha256": recipe.weights.sha256[WEIGHTS_FILE],
        "labels": recipe.spec.labels,
        "activation": recipe.spec.activation,
        "plan": asdict(plan),
        "training_files": data.training.sha256,
        "validation_files": data.validation.sha256,
        "figures": figures,
        "notice": notice or f"Fine-tuned on {', '.join(data.training.sha256)}.",
    }
    write_record(output, record)
    console.print(f"Adapter in {output}; accuracy on the held-out pairs {figures['accuracy']:.4f}")


def _export(
    name: str,
    load: Callable[[], LoadedModel],
    output: Path,
    variants: Sequence[Variant],
    console: Console,
) -> None:
    with step_progress(console) as progress:
        total = 1 + STEPS + len(variants)
        task = progress.add_task(f"{name}: loading the weights", total=total)

        def announce(step: str) -> None:
            progress.update(task, advance=1, description=f"{name}: {step}")

        refused: list[FidelityError] = []
        manifest = export_model(load(), output / name, announce, variants, refused.append)
        progress.update(task, completed=total, description=f"{name}: done")
    for variant, facts in manifest["variants"].items():
        megabytes = manifest["files"][facts["file"]]["bytes"] / 1e6
        console.print(
            f"{output / name}: {variant}, {megabytes:.1f} MB,"
            f" at most {facts['max_abs_difference']:.1e} from {facts['reference']}"
        )
    for error in refused:
        console.print(str(error))
    if variants and not refused and len(manifest["variants"]) == 1:
        console.print(f"{name}: only a BERT has the variants {', '.join(variants)}")


def _original(manifest: Mapping[str, Any], cache: Path, console: Console) -> LoadedModel | None:
    """Build the model that a bundle was exported from, where a recipe of ours made it."""
    recipe = RECIPES.get(manifest["model"])
    if recipe is None:
        return None
    model = load_recipe(recipe, fetch_weights(recipe.weights, cache, console))
    return model if manifest["weights"] == weights_of(model) else None
