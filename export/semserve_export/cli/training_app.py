"""The commands that train classifiers and embedders, and that make pairs for training."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.bundle.layout import require_place
from semserve_export.cli.terminal import CACHE, Cache, commands, console
from semserve_export.cli.vectors_app import train_on_vectors
from semserve_export.data.augmentation_plan import MIXING_BOUNDS, AugmentationPlan
from semserve_export.data.scored_pairs import read_scored_pairs, read_unscored_pairs
from semserve_export.embedder_training.embedder_plan import EMBEDDER_BOUNDS, EmbedderPlan
from semserve_export.errors import ExportError
from semserve_export.files.downloads import fetch_weights
from semserve_export.number_bounds import require_within
from semserve_export.options import ModelOptions
from semserve_export.recipes import RECIPES, Recipe
from semserve_export.training.files import ADAPTER, TrainingFiles, require_free
from semserve_export.training.plan import TRAINING_BOUNDS, TrainingPlan
from semserve_export.untrusted.input_files import require_readable
from semserve_export.untrusted.requirements import read_adapters, read_models

ADAPTERS = Path(".cache/adapters")


def train(
    start: str = "",
    /,
    *,
    files: Annotated[TrainingFiles, Parameter(name="*")],
    vectors: Path | None = None,
    label: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    plan: Annotated[TrainingPlan, Parameter(name="*")] = TrainingPlan(),
    weights_cache: Cache = CACHE,
) -> None:
    """Fine-tune a classifier, and write an adapter with a report.

    Args:
        start: Model to fine-tune: a recipe of `list`, or a model of your own: the directory of a
            preset or of a Hugging Face model, a .keras file, or a KerasHub handle.
        files: the training data.
        vectors: File of word vectors in a text format (word2vec, GloVe, fastText's .vec), instead
            of a model to fine-tune. The command trains an LSTM on them.
        label: Label of a model of your own; repeat the flag for each label, in the order of the
            logits.
        plan: the hyperparameters.
        weights_cache: Directory of the downloaded weights of recipes.
    """
    require_within(plan, TRAINING_BOUNDS)
    if vectors or not start:
        train_on_vectors(start, vectors, label, files, plan)
        return
    recipe = _recipe_of(start)
    output = files.output or ADAPTERS / ModelOptions(start).title
    require_place(files.output or ADAPTERS)
    require_free(output, ADAPTER, resume=files.resume, fresh=files.fresh)
    if recipe and label:
        raise ExportError(f"--label: {start} has its own labels")
    labels = (recipe and recipe.spec.labels) or label
    if len(labels) < 2:  # noqa: PLR2004 - a classifier has at least two labels
        place = "" if Path(start).exists() else "is no recipe, and "
        raise ExportError(
            f"{start}: {place}a model of your own needs its labels, --label one by one"
        )
    if recipe is None:
        require_readable(start)
    if unknown := sorted(set(plan.symmetric) - set(labels)):
        raise ExportError(f"--symmetric: no label {unknown[0]!r}; there are {', '.join(labels)}")
    if not plan.teachers:
        _require_no_flag_of_teachers(files, plan)
    writes = [output, files.answers]
    if recipe is None:
        read_models(start, writes=writes, training=True)
    elif plan.start:
        fetch_weights(recipe.weights, weights_cache, console)
        read_adapters(plan.start, writes=writes)
    data = files.read(labels)
    if data.single:
        _require_for_single_texts(start, recipe, plan)
    commands("training_commands").train_classifier(
        recipe or start, labels, data, files, plan, weights_cache, console
    )


def _recipe_of(start: str) -> Recipe | None:
    """Return the recipe of that name, or None if the start is a model of the user.

    Raises:
        ExportError: the recipe is not a fine-tuned classifier, or the file cannot be read.
    """
    if start not in RECIPES:
        if "/" in start or start.endswith(".keras"):
            require_readable(start)
        return None
    recipe = RECIPES[start]
    if not isinstance(recipe, Recipe) or not (recipe.adapter and recipe.spec.labels):
        raise ExportError(f"{start} is not fine-tuned, so there is nothing to train")
    return recipe


def _require_no_flag_of_teachers(files: TrainingFiles, plan: TrainingPlan) -> None:
    if files.unlabelled:
        raise ExportError("--unlabelled needs --teachers to answer the pairs")
    default = TrainingPlan()
    for name in ("teacher_weight", "teacher_variant"):
        if getattr(plan, name) != getattr(default, name):
            raise ExportError(f"--{name.replace('_', '-')} needs --teachers")


def _require_for_single_texts(start: str, recipe: Recipe | None, plan: TrainingPlan) -> None:
    if recipe:
        raise ExportError(f"{start} takes pairs, and the files hold single texts")
    if plan.teachers:
        raise ExportError("--teachers label pairs, and the files hold single texts")
    if plan.symmetric:
        raise ExportError("--symmetric swaps the texts of pairs, and the files hold single texts")


def train_embedder(
    start: str,
    /,
    *,
    train: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)],
    validation: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)],
    output: Path,
    plan: Annotated[EmbedderPlan, Parameter(name="*")] = EmbedderPlan(),
    resume: Annotated[bool, Parameter(negative=())] = False,
    fresh: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Fine-tune an embedder on pairs of texts, and save it as a preset, which `export` can export.

    Args:
        start: Model to fine-tune: the directory of a KerasHub preset, a .keras file, or a KerasHub
            handle.
        train: Training files with the columns sentence1, sentence2 and score. For the objective
            ranking the score is optional, and premise and hypothesis are valid column names.
        validation: Files with the columns sentence1, sentence2 and score. The command keeps the
            epoch with the best correlation on them.
        output: Directory of the new preset.
        plan: the hyperparameters.
        resume: Continue the interrupted training in the directory.
        fresh: Start from the beginning, and replace the preset or the checkpoint in the directory.
    """
    if start in RECIPES:
        raise ExportError(f"{start} is a recipe; train-embedder takes a model of your own")
    require_within(plan, EMBEDDER_BOUNDS)
    if plan.objective == "ranking" and plan.batch_size == 1:
        raise ExportError("--batch-size 1: ranking compares the pairs of a batch; say 2 or more")
    if plan.objective == "ranking" and plan.score_max != EmbedderPlan().score_max:
        raise ExportError("--score-max: ranking uses no scores for training; leave it out")
    require_readable(start)
    require_place(output)
    require_free(output, "*", resume=resume, fresh=fresh)
    read_models(start, writes=[output], training=True)
    read = read_unscored_pairs if plan.objective == "ranking" else read_scored_pairs
    training = read(train)
    if (largest := max(training.scores, default=0)) > plan.score_max:
        raise ExportError(
            f"--train: a score is {largest:g}, and --score-max is {plan.score_max:g}; say"
            " --score-max with the score of a pair that means the same"
        )
    commands("training_commands").train_an_embedder(
        start, training, read_scored_pairs(validation), plan, output, console, resume=resume
    )


def mix_pairs(
    *files: Path,
    output: Path,
    plan: Annotated[AugmentationPlan, Parameter(name="*")] = AugmentationPlan(),
) -> None:
    """Make new pairs from the texts of existing pairs, for `train --unlabelled`.

    Args:
        files: Files of pairs, as for `train`; labels are ignored.
        output: File of the new pairs; its name ends in .jsonl or .jsonl.gz.
        plan: the kinds of pairs and their numbers.
    """
    if not files:
        raise ExportError("name a file of pairs to make new ones of")
    require_within(plan, MIXING_BOUNDS)
    require_place(output)
    if not output.name.endswith((".jsonl", ".jsonl.gz")):
        raise ExportError(f"{output}: ends in neither .jsonl nor .jsonl.gz")
    if (plan.near or plan.like) and plan.embedder is None:
        raise ExportError("--near and --like need an --embedder; with 0 for both none is needed")
    if output.resolve() in {path.resolve() for path in (*files, *plan.hold_out)}:
        raise ExportError(f"{output}: is read, so it is not written; choose another --output")
    commands("augmentation_commands").mix_files(files, output, plan, console)
