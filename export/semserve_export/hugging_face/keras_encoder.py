"""Builds a KerasHub model with the weights of an encoder; ONNX graphs are compared with it.

`encoder_reader.py` does the reverse.
"""

from typing import Any

import keras

from semserve_export.encoder_weights import (
    Array,
    Classifier,
    Dense,
    EncoderWeights,
    Layer,
    Norm,
    SparseHead,
)
from semserve_export.hugging_face.config import Architecture
from semserve_export.models.activation import set_activation
from semserve_export.models.families import Family
from semserve_export.models.keras_internals import sublayers, transformer_parts
from semserve_export.models.pooling import PooledTokens, SparseTokens


def make_keras_model(encoder: EncoderWeights, architecture: Architecture, family: Family) -> Any:
    """Build the model including its head; its output is vectors, weights or logits."""
    backbone = make_backbone(encoder, architecture, family)
    head = encoder.head
    if isinstance(head, Classifier):
        model = family.classifier(
            backbone, num_classes=len(head.logits.bias), preprocessor=None, dropout=0
        )
        # BERT and ALBERT have the pooler in the backbone, the others in the classifier.
        owner = model if hasattr(model, "pooled_dense") else backbone
        fill_dense(owner.pooled_dense, head.pooler.dense)
        fill_dense(model.output_dense, head.logits)
        return model
    if isinstance(head, SparseHead):
        return SparseTokens(backbone, head, encoder.epsilon)
    return PooledTokens(
        backbone, head.pooling, normalize=head.normalized, pooler=head.pooler, steps=head.steps
    )


def make_backbone(
    encoder: EncoderWeights,
    architecture: Architecture,
    family: Family,
    *,
    dropout: float = 0,
    precision: str = "float32",
) -> Any:
    """Build a KerasHub backbone with the encoder's weights, activation and epsilon.

    Args:
        encoder: the weights; its head is not used.
        architecture: the groups of layers that share weights.
        family: the family of KerasHub's backbone.
        dropout: dropout of a training.
        precision: name of Keras's dtype policy.
    """
    tables, facts = encoder.embeddings, {}
    if tables.segments is not None:
        facts["num_segments"] = len(tables.segments)
    if tables.projection is not None:
        facts |= {
            "embedding_dim": tables.tokens.shape[1],
            "num_groups": architecture.groups,
            "num_inner_repetitions": architecture.layers_in_group,
        }
    if tables.relative is not None:
        facts["bucket_size"] = architecture.buckets
    backbone = family.backbone(
        vocabulary_size=len(tables.tokens),
        num_layers=architecture.layers,
        num_heads=encoder.heads,
        hidden_dim=encoder.hidden,
        intermediate_dim=architecture.inner,
        max_sequence_length=len(tables.positions),
        dropout=dropout,
        dtype=precision,
        **facts,
    )
    _fill_embeddings(backbone, encoder)
    unique = {id(layer): layer for layer in encoder.layers}.values()
    for layer, numbers in zip(_layers(backbone), unique, strict=True):
        _fill_layer(layer, numbers)
    for layer in sublayers(backbone):
        if isinstance(layer, keras.layers.LayerNormalization):
            layer.epsilon = encoder.epsilon
    set_activation(backbone, encoder.activation)
    return backbone


def _fill_embeddings(backbone: Any, encoder: EncoderWeights) -> None:
    tables = encoder.embeddings
    _fill(backbone.token_embedding.embeddings, tables.tokens)
    _fill_norm(backbone.embeddings_layer_norm, tables.norm)
    if tables.relative is not None:
        _fill(backbone.relative_embeddings.rel_embeddings, tables.relative.table)
        _fill_norm(backbone.relative_embeddings.layer_norm, tables.relative.norm)
        return
    segmented = tables.segments is not None
    positions = (backbone if segmented else backbone.embeddings).position_embedding
    _fill(positions.position_embeddings, tables.positions)
    if segmented:
        _fill(backbone.segment_embedding.embeddings, tables.segments)
    if tables.projection is not None:
        fill_dense(backbone.embeddings_projection, tables.projection)


def _layers(backbone: Any) -> list[Any]:
    """Return each layer once; ALBERT shares layers in groups."""
    layers = backbone.transformer_layers
    return [one for each in layers for one in (each if isinstance(each, list) else [each])]


def _fill_layer(layer: Any, numbers: Layer) -> None:
    parts = transformer_parts(layer)
    fill_dense(parts.query, numbers.query)
    fill_dense(parts.key, numbers.key)
    fill_dense(parts.value, numbers.value)
    fill_dense(parts.attention_output, numbers.attention_output)
    _fill_norm(parts.attention_norm, numbers.attention_norm)
    fill_dense(parts.up, numbers.up)
    fill_dense(parts.down, numbers.down)
    _fill_norm(parts.norm, numbers.norm)


def fill_dense(layer: Any, dense: Dense) -> None:
    """Fill a kernel; in attention it has separate heads, such as (hidden, heads, width)."""
    _fill(layer.kernel, dense.kernel)
    _fill(layer.bias, dense.bias)


def _fill_norm(layer: Any, norm: Norm) -> None:
    _fill(layer.gamma, norm.gamma)
    _fill(layer.beta, norm.beta)


def _fill(variable: Any, array: Array | None) -> None:
    assert array is not None  # noqa: S101 - the caller asked whether the family has it
    variable.assign(array.reshape(variable.shape))
