"""Recognises towers that are a KerasHub transformer with a pooling, which get the faster graphs."""

from dataclasses import replace
from typing import Any

import keras_hub
import numpy as np

from semserve_export.bundle.tolerance import TOLERANCE, keras_run, scaled_difference
from semserve_export.models.bert import make_embedder
from semserve_export.models.families import FAMILIES, Family, inputs_of
from semserve_export.models.keras_internals import sublayers
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.models.pooling import POOLINGS, PooledTokens
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.tokenizers.sample_texts import TEXTS

TRIED_TEXTS = TEXTS[:8]


def as_embedder(loaded: LoadedModel, tower: Any) -> LoadedModel:
    """Replace a tower by KerasHub's backbone with a known pooling, if both have equal outputs.

    The weights are then known by their purpose, so that the export can make the variants fused and
    int8. The equality is checked on texts, alone and padded.

    Args:
        loaded: the tower as an embedder.
        tower: the model of this embedder.
    """
    found = _backbone(tower)
    if found is None:
        return loaded
    backbone, family = found
    length = loaded.spec.max_sequence_length
    encodings = encode(loaded.tokenizer, TRIED_TEXTS, length)
    batches = [pad([one]) for one in encodings] + [pad(encodings)]
    run = keras_run(loaded.keras_model, loaded.spec.inputs)
    expected = [run(batch) for batch in batches]
    poolings = ["cls", "mean", *(name for name in POOLINGS if name not in {"cls", "mean"})]
    if isinstance(backbone, keras_hub.models.BertBackbone):
        poolings.insert(0, "pooled")
    for normalize in (False, True):
        for pooling in poolings:
            model = _embedder(backbone, pooling, normalize=normalize)
            if model.output_shape[-1] != expected[0].shape[1]:
                continue
            names = inputs_of(model)
            other = keras_run(model, names)
            differences = [
                scaled_difference(other(batch), rows)
                for batch, rows in zip(batches, expected, strict=True)
            ]
            if float(np.max(differences)) <= TOLERANCE:
                spec = replace(
                    loaded.spec,
                    inputs=names,
                    pooling=pooling,
                    normalized=normalize,
                    activation=family.gelu,
                )
                return replace(loaded, spec=spec, keras_model=model)
    return loaded


def _backbone(tower: Any) -> tuple[Any, Family] | None:
    """Return the backbone of a tower, and its family."""
    found = [
        (layer, family)
        for layer in sublayers(tower)
        for family in FAMILIES
        if type(layer) is family.backbone and family.plain
    ]
    return found[0] if len(found) == 1 else None


def _embedder(backbone: Any, pooling: str, *, normalize: bool) -> Any:
    if isinstance(backbone, keras_hub.models.BertBackbone):
        return make_embedder(backbone, pooling, normalize=normalize)
    return PooledTokens(backbone, pooling, normalize=normalize)
