"""Reads the weights of a KerasHub model of any family whose layers are those of BERT."""

from typing import Any

import keras
import keras_hub
import numpy as np

from semserve_export.encoder_weights import (
    Array,
    Classifier,
    Dense,
    Embeddings,
    EncoderWeights,
    Layer,
    Norm,
    Pool,
    Pooler,
)
from semserve_export.model_spec import Activation
from semserve_export.models.bert import PooledEmbedder
from semserve_export.models.families import FAMILIES
from semserve_export.models.keras_internals import transformer_parts
from semserve_export.models.mpnet import MPNetBackbone, MPNetClassifier
from semserve_export.models.pooling import PooledTokens

EMBEDDERS = (keras_hub.models.BertTextEmbedder, PooledEmbedder, PooledTokens)


def is_encoder(model: Any) -> bool:
    """Return whether `read_encoder` supports the model, an embedder or classifier."""
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, MPNetBackbone):
        return isinstance(model, (PooledTokens, MPNetClassifier))
    return any(
        type(backbone) is family.backbone and isinstance(model, (*EMBEDDERS, family.classifier))
        for family in FAMILIES
        if family.plain
    )


def read_encoder(model: Any, activation: Activation) -> EncoderWeights:
    """Read the weights of an embedder or a classifier, with merged LoRA updates."""
    backbone = model.backbone
    return EncoderWeights(
        embeddings=_embeddings(backbone),
        layers=_layers(backbone),
        head=_head(model),
        heads=backbone.num_heads,
        epsilon=backbone.embeddings_layer_norm.epsilon,
        activation=activation,
        relative_bias=_relative_bias(backbone),
    )


def _embeddings(backbone: Any) -> Embeddings:
    """Read the tables; in a family without segments, one layer `embeddings` has the other two."""
    segmented = hasattr(backbone, "segment_embedding")
    positions = (backbone if segmented else backbone.embeddings).position_embedding
    projection = getattr(backbone, "embeddings_projection", None)
    return Embeddings(
        tokens=_array(backbone.token_embedding.embeddings),
        positions=_array(positions.position_embeddings),
        segments=_array(backbone.segment_embedding.embeddings) if segmented else None,
        norm=_norm(backbone.embeddings_layer_norm),
        projection=_dense(projection) if projection else None,
    )


def _relative_bias(backbone: Any) -> Array | None:
    """Read the position bias for each distance instead of each bucket."""
    layer = getattr(backbone, "relative_position_bias", None)
    return None if layer is None else _array(layer.by_distance())


def _layers(backbone: Any) -> tuple[Layer, ...]:
    """Read the layers in their order; ALBERT runs each of its groups several times."""
    layers = backbone.transformer_layers
    if not isinstance(layers[0], list):
        return tuple(map(_layer, layers))
    times = backbone.num_layers // len(layers)
    return tuple(one for group in layers for one in times * [*map(_layer, group)])


def _head(model: Any) -> Classifier | Pool:
    if isinstance(model, PooledTokens):
        return model.head
    if isinstance(model, PooledEmbedder):
        return Pool("pooled", model.normalize, _pooler(model.backbone.pooled_dense))
    if isinstance(model, EMBEDDERS):
        return Pool(model.pooling_mode, model.normalize)
    # BERT and ALBERT have the pooler in the backbone, the others in the classifier.
    owner = model if hasattr(model, "pooled_dense") else model.backbone
    return Classifier(_pooler(owner.pooled_dense), _dense(model.output_dense))


def _layer(layer: Any) -> Layer:
    parts = transformer_parts(layer)
    return Layer(
        query=_dense(parts.query),
        key=_dense(parts.key),
        value=_dense(parts.value),
        attention_output=_dense(parts.attention_output),
        attention_norm=_norm(parts.attention_norm),
        up=_dense(parts.up),
        down=_dense(parts.down),
        norm=_norm(parts.norm),
    )


def _pooler(layer: Any) -> Pooler:
    return Pooler(_dense(layer), keras.activations.serialize(layer.activation))


def _dense(layer: Any) -> Dense:
    """Flatten a kernel over heads, (hidden, heads, width) or (heads, width, hidden), to two axes.

    The axes of the bias are the output axes.
    """
    kernel, bias = _array(layer.kernel), _array(layer.bias)
    return Dense(kernel.reshape(-1, bias.size), bias.reshape(-1))


def _norm(layer: Any) -> Norm:
    return Norm(_array(layer.gamma), _array(layer.beta))


def _array(variable: Any) -> Array:
    return np.asarray(variable, np.float32)
