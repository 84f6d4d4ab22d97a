"""What of a model a training changes: all but the embeddings, the last layers, or LoRA's updates."""

from collections.abc import Sequence
from typing import Any

import keras

from semserve_export.errors import ExportError
from semserve_export.keras_parts import transformer_parts
from semserve_export.training_plan import TrainingPlan

PRODUCTS = ("query", "key", "value", "attention_output", "up", "down")


def choose_trainable(model: keras.Model, plan: TrainingPlan) -> None:
    """Freeze what the plan does not train; the head on top of the backbone is always trained.

    Freezing the embeddings spares half of a small model's values, at no cost in accuracy.

    Raises:
        ExportError: the plan asks for layers that the model has not.
    """
    backbone = model.backbone
    if not plan.train_embeddings:
        for layer in backbone.layers:
            if "embedding" in layer.name:
                layer.trainable = False
    if plan.lora and plan.lora_products == "query-value" and plan.upper_layers is None:
        backbone.enable_lora(plan.lora)
        return
    if plan.upper_layers is None and not plan.lora:
        return
    upper = _upper_layers(backbone, plan.upper_layers)
    pooler = [backbone.pooled_dense] if hasattr(backbone, "pooled_dense") else []
    for layer in backbone.layers:
        # By identity: two layers are never equal, but may have one name.
        layer.trainable = any(layer is kept for kept in (*upper, *pooler))
    if plan.lora:
        names = ("query", "value") if plan.lora_products == "query-value" else PRODUCTS
        for layer in upper:
            for name in names:
                getattr(transformer_parts(layer), name).enable_lora(plan.lora)
            for name in set(PRODUCTS) - set(names):
                getattr(transformer_parts(layer), name).trainable = False


def _upper_layers(backbone: Any, count: int | None) -> Sequence[Any]:
    layers = getattr(backbone, "transformer_layers", [])
    if not layers or isinstance(layers[0], list):
        raise ExportError(
            "--upper-layers and --lora-products all need a model whose layers are each their own;"
            " this model's are shared, or unknown: leave both out"
        )
    if count is not None and not 1 <= count <= len(layers):
        raise ExportError(f"--upper-layers {count}: the model has {len(layers)} layers")
    return layers[-count:] if count else layers
