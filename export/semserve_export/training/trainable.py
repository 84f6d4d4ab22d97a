"""Selects the weights to train: all except the embeddings, the last layers, or LoRA updates."""

from collections.abc import Sequence
from typing import Any

import keras

from semserve_export.errors import ExportError
from semserve_export.models.keras_internals import transformer_parts
from semserve_export.training.plan import TrainingPlan

PRODUCTS = ("query", "key", "value", "attention_output", "up", "down")
QUERIES_AND_VALUES = ("query", "value")


def choose_trainable(model: keras.Model, plan: TrainingPlan) -> None:
    """Freeze the weights that the plan does not train; the head is always trained.

    Frozen embeddings reduce a small model's adapter by half, without a loss of accuracy.

    Raises:
        ExportError: the plan names layers that the model does not have, or contradicts itself.
    """
    _require_consistent(plan)
    backbone = model.backbone
    if not plan.train_embeddings:
        for layer in backbone.layers:
            if "embedding" in layer.name:
                layer.trainable = False
    if plan.upper_layers is None and (not plan.lora or plan.lora_products == "query-value"):
        if plan.lora:
            backbone.enable_lora(plan.lora)
        return
    upper = _upper_layers(backbone, plan.upper_layers)
    _freeze_all_but(backbone, upper)
    if plan.lora:
        updated = QUERIES_AND_VALUES if plan.lora_products == "query-value" else PRODUCTS
        for layer in upper:
            _update(layer, plan.lora, updated)


def _require_consistent(plan: TrainingPlan) -> None:
    if plan.lora_products != "query-value" and not plan.lora:
        raise ExportError(f"--lora-products {plan.lora_products} needs --lora and its rank")
    if plan.train_embeddings and (plan.lora or plan.upper_layers is not None):
        other = "--lora" if plan.lora else "--upper-layers"
        raise ExportError(f"--train-embeddings: {other} freezes the embeddings; leave out one")


def _freeze_all_but(backbone: Any, upper: Sequence[Any]) -> None:
    """Train only the given layers and the pooler."""
    kept = {id(layer) for layer in (*upper, getattr(backbone, "pooled_dense", None))}
    for layer in backbone.layers:
        layer.trainable = id(layer) in kept


def _update(layer: Any, rank: int, updated: Sequence[str]) -> None:
    """Enable LoRA for the named products of a layer, and freeze the others."""
    parts = transformer_parts(layer)
    for name in PRODUCTS:
        if name in updated:
            getattr(parts, name).enable_lora(rank)
        else:
            getattr(parts, name).trainable = False


def _upper_layers(backbone: Any, count: int | None) -> Sequence[Any]:
    layers = getattr(backbone, "transformer_layers", [])
    if not layers or isinstance(layers[0], list):
        raise ExportError(
            "--upper-layers and --lora-products all need a model whose layers each have weights of"
            " their own, and this model's do not; leave both out"
        )
    if count is not None and not 1 <= count <= len(layers):
        raise ExportError(f"--upper-layers {count}: the model has {len(layers)} layers")
    return layers[-count:] if count else layers
