"""A user's own BERT: a KerasHub preset, or a Hugging Face directory, read as its author left it.

What the preset says is used (activation, pooling, length, lower case, labels); what it cannot say,
or says wrongly, the command line can.
"""

from pathlib import Path
from typing import Any

from semserve_export.asked import OwnModel
from semserve_export.digest import sha256_of
from semserve_export.errors import WeightsError
from semserve_export.model import LoadedModel
from semserve_export.preset import Preset
from semserve_export.spec import ModelSpec

UNSTATED_LICENCE = "The licence of these weights was not stated when they were exported.\n"


def load_own(asked: OwnModel) -> LoadedModel:
    """Load the model, and say what it is.

    Raises:
        WeightsError: the preset cannot be read, is no BERT, or leaves open what must be known.
    """
    try:
        preset = Preset.read(asked.preset)
        if (asked.task or preset.task) == "embedding":
            spec, model = _embedder(asked, preset)
        else:
            spec, model = _classifier(asked, preset)
        tokenizer = preset.load_tokenizer(strip_accents=asked.strip_accents)
        licence = asked.licence.read_text(encoding="utf-8") if asked.licence else UNSTATED_LICENCE
    except (OSError, ValueError, KeyError) as error:  # what KerasHub raises for a bad preset
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{asked.preset}: cannot be loaded: {reason}") from error
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=tokenizer,
        source=Path(asked.preset).name,
        sha256=sha256_of(preset.weights_file) if preset.weights_file else None,
        licence=licence,
        notice=f"{spec.name}: exported by semserve-export from {Path(asked.preset).name}.\n",
    )


def _embedder(asked: OwnModel, preset: Preset) -> tuple[ModelSpec, Any]:
    changes = {"pooling_mode": asked.pooling, "normalize": asked.normalize}
    activation = asked.activation or preset.activation
    model = preset.load_embedder(
        activation, **{name: value for name, value in changes.items() if value is not None}
    )
    spec = ModelSpec(
        name=asked.name,
        description=asked.description or f"embeddings by {Path(asked.preset).name}",
        task="embedding",
        activation=activation,
        max_sequence_length=asked.max_sequence_length or preset.max_sequence_length(model.backbone),
        pooling=model.pooling_mode,
        normalized=model.normalize,
        metric="cosine",
    )
    return spec, model


def _classifier(asked: OwnModel, preset: Preset) -> tuple[ModelSpec, Any]:
    activation = asked.activation or preset.activation
    model = preset.load_classifier(activation)
    labels = asked.labels or preset.labels
    if len(labels) != model.num_classes:
        raise WeightsError(
            f"{asked.preset}: {model.num_classes} classes need as many labels, in the order of the"
            f" logits; give --label {model.num_classes} times"
        )
    spec = ModelSpec(
        name=asked.name,
        description=asked.description or f"classification by {Path(asked.preset).name}",
        task="classification",
        activation=activation,
        max_sequence_length=asked.max_sequence_length or preset.max_sequence_length(model.backbone),
        labels=labels,
        pair=asked.pair,
    )
    return spec, model
