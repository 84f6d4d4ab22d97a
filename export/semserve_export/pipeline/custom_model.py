"""Loads a model of the user: a KerasHub preset, a Hugging Face directory, or a `.keras` file.

Settings come from the model (activation, pooling, length, letters, labels); options of the command
line add missing settings and override wrong ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.bundle.option_rules import require_no_padding
from semserve_export.errors import ExportError, WeightsError
from semserve_export.failures import reason_of
from semserve_export.files.digest import sha256_of
from semserve_export.files.preset_digest import digest_of, preset_weight_files
from semserve_export.hugging_face.directory import find_directory
from semserve_export.hugging_face.directory_model import load_directory
from semserve_export.keras_models.keras_hub_tokenizer import build_keras_hub_tokenizer
from semserve_export.model_spec import PREMISE_FIRST
from semserve_export.models.delta_adapter import TENSORS
from semserve_export.models.families import inputs_of
from semserve_export.models.loaded_model import LICENCES, LoadedModel, require_finite
from semserve_export.models.preset import Preset
from semserve_export.models.preset_rules import (
    notes_of,
    require_explained,
    require_flags_of_tokenizer,
    require_segments,
    require_vocabulary,
)
from semserve_export.options import ModelOptions
from semserve_export.pipeline.export import require_spec
from semserve_export.pipeline.preset_models import load_model
from semserve_export.recipes import PresetRecipe
from semserve_export.tokenizers.fuzz_texts import odd_texts
from semserve_export.tokenizers.parity import compare_tokenizers
from semserve_export.untrusted.input_files import require_readable
from semserve_export.untrusted.model_checks import ready_for_keras

UNSTATED_LICENCE = "The licence of these weights was not stated when they were exported.\n"
COMPARED_TEXTS = 2000  # with KerasHub's tokenizer, at every export


def load_custom_model(options: ModelOptions) -> LoadedModel:
    """Load the model and its description.

    Raises:
        WeightsError: it cannot be read, its family is unsupported, or a required setting is
            missing.
        ExportError: a flag is for another kind of model.
    """
    require_readable(options.path)
    require_no_padding(options)
    with named_errors(options.path), ready_for_keras(options.path) as checked:
        if directory := find_directory(checked):
            model = load_directory(options, directory, licence_of(options))
        else:
            model = _load(options, Preset.read(checked), Path(options.path))
        require_spec(model.spec)
        return model


def load_preset_recipe(recipe: PresetRecipe, directory: Path) -> LoadedModel:
    """Load a recipe that is a stored preset, in the same way as a model of the user.

    Raises:
        WeightsError: as `load_custom_model`.
    """
    spec, kept = recipe.spec, recipe.weights
    options = ModelOptions(
        str(directory),
        name=spec.name,
        task=spec.task,
        labels=spec.labels or (),
        text_order=PREMISE_FIRST if spec.pair else None,
    )
    return replace(
        load_custom_model(options),
        spec=spec,
        source=str(kept),
        licence=(LICENCES / f"{kept.licence}.txt").read_text(encoding="utf-8"),
        notice=f"{kept.notice}\n",
    )


def custom_tokenizers(path: str) -> tuple[Any, Tokenizer]:
    """Load KerasHub's tokenizer of a user's model, and convert it.

    Raises:
        WeightsError: as `load_custom_model`; or KerasHub's tokenizer is not what the model was
            trained with.
    """
    with named_errors(path), ready_for_keras(path) as checked:
        if find_directory(checked):
            raise WeightsError(
                "is read by its own tokenizer and not by KerasHub's; its export compares the two"
                " that matter, tokenizer.json and the bundle's"
            )
        preset = Preset.read(checked)
        original = preset.load_tokenizer()
        return original, build_custom_tokenizer(original, preset)


def licence_of(options: ModelOptions) -> str:
    """Return the text of the licence file, or a default text."""
    return options.licence.read_text(encoding="utf-8") if options.licence else UNSTATED_LICENCE


@contextmanager
def open_preset(path: str) -> Iterator[Preset]:
    """Check a model and yield its preset (a context manager).

    Raises:
        WeightsError: any error of the model, in one line that begins with the path.
    """
    with named_errors(path), ready_for_keras(path) as checked:
        yield Preset.read(checked)


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Convert any error of a model to one line that begins with its path."""
    try:
        yield
    except ExportError as error:
        reason = str(error)
        raise type(error)(reason if reason.startswith(path) else f"{path}: {reason}") from error
    except MemoryError:
        raise
    except Exception as error:  # their errors have no common base class
        raise WeightsError(f"{path}: cannot be loaded: {reason_of(error)}") from error


def _load(options: ModelOptions, preset: Preset, path: Path) -> LoadedModel:
    loaded = load_model(options, preset)
    spec, model = loaded.spec, loaded.model
    original = _tokenizer_of(options.tokenizer) if options.tokenizer else preset.load_tokenizer()
    require_finite(model)
    require_segments(model.backbone, pair=spec.pair)
    require_vocabulary(original, model.backbone, options.tokenizer)
    require_flags_of_tokenizer(options, original)
    if options.split_on_cjk is not None:
        original.split_on_cjk = options.split_on_cjk
    tokenizer = build_custom_tokenizer(original, preset, strip_accents=options.strip_accents)
    parity = compare_tokenizers(original, tokenizer, odd_texts(COMPARED_TEXTS))
    if not options.allow_tokenizer_differences:
        require_explained(parity)
    return LoadedModel(
        spec=replace(spec, inputs=inputs_of(model)),
        keras_model=model,
        tokenizer=tokenizer,
        source=options.title,
        sha256=digest_of(_weight_files(preset, path, head=spec.task != "embedding")),
        adapter_sha256=sha256_of(options.adapter / TENSORS) if options.adapter else None,
        notes=(*notes_of(preset), *loaded.notes),
        facts=loaded.facts,
        licence=licence_of(options),
        notice=f"{spec.name}: exported by semserve-export from {options.title}.\n",
        parity=parity,
    )


def _tokenizer_of(path: str) -> Any:
    with open_preset(path) as preset:
        return preset.load_tokenizer()


def build_custom_tokenizer(
    original: Any, preset: Preset, *, strip_accents: bool | None = None
) -> Tokenizer:
    """Convert KerasHub's tokenizer, so that it tokenises texts as in training.

    Args:
        original: KerasHub's tokenizer.
        preset: has the family.
        strip_accents: overrides the preset.
    """
    return build_keras_hub_tokenizer(original, preset.family, strip_accents=strip_accents)


def _weight_files(preset: Preset, path: Path, *, head: bool) -> list[Path]:
    if path.is_file():
        return [path]
    return preset_weight_files(preset.handle, head=head)
