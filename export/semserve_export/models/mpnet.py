"""MPNet as a Keras backbone: a BERT without segments, whose attention has a relative position bias.

Source: Song et al. 2020, "MPNet: Masked and Permuted Pre-training for Language Understanding".
KerasHub has no MPNet, so the layers are our own. Names and shapes follow KerasHub's backbones.
"""

from typing import Any

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
from keras import ops

from semserve_export.model_spec import Activation
from semserve_export.models.activation import gelu_erf, gelu_tanh
from semserve_export.models.keras_internals import TransformerParts

MASKED = -1e30
LAST_BUCKET_DISTANCE = 128  # tokens; whatever is as far or farther shares the last bucket
"""Number that is added to the attention score of a padded token; it is large enough to hide the
score."""


class RelativePositionBias(keras.layers.Layer):
    """The position bias of each head and bucket of distances: fp32 [1, heads, sequence, sequence].

    Its one weight, `embeddings`, is fp32 [buckets, heads]. All layers of a model share it.
    """

    def __init__(self, heads: int, buckets: int, positions: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.heads, self.buckets, self.positions = heads, buckets, positions
        self._table = bucket_table(positions, buckets)

    def build(self, _: Any) -> None:
        """Make the weight."""
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.buckets, self.heads), dtype="float32", autocast=False
        )
        self.built = True

    def call(self, token_ids: Any) -> Any:
        """Return the bias of the scores [batch, heads, attending, attended to]."""
        places = ops.arange(ops.shape(token_ids)[1], dtype="int32")
        distances = ops.expand_dims(places, 0) - ops.expand_dims(places, 1)
        buckets = ops.take(self._table, distances + (self.positions - 1), axis=0)
        by_pair = ops.take(self.embeddings, buckets, axis=0)
        return ops.expand_dims(ops.transpose(by_pair, (2, 0, 1)), 0)

    def by_distance(self) -> Any:
        """Return the bias of every distance, `1 - positions` first: [heads, 2 x positions - 1]."""
        return ops.transpose(ops.take(self.embeddings, self._table, axis=0))

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the bias."""
        return (1, self.heads, shape[1], shape[1])


class MPNetLayer(keras.layers.Layer):
    """One transformer layer, normalised after attention and after feed-forward."""

    def __init__(
        self,
        hidden: int,
        heads: int,
        inner: int,
        activation: Activation,
        dropout: float,
        epsilon: float,
        **settings: Any,
    ) -> None:
        # Keras would cast the fp32 position bias to the precision of the layer.
        super().__init__(autocast=False, **settings)
        self.heads, self.size = heads, hidden // heads
        policy = self.dtype_policy

        def dense(outputs: int, name: str) -> Any:
            return keras.layers.Dense(outputs, name=name, dtype=policy)

        def norm(name: str) -> Any:
            return keras.layers.LayerNormalization(epsilon=epsilon, name=name, dtype=policy)

        self.query, self.key, self.value = (dense(hidden, n) for n in ("query", "key", "value"))
        self.attention_output, self.attention_norm = (
            dense(hidden, "attention_output"),
            norm("attention_norm"),
        )
        self.up, self.down, self.norm = dense(inner, "up"), dense(hidden, "down"), norm("norm")
        self.up.activation = {"erf": gelu_erf, "tanh": gelu_tanh}[activation]
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=policy)

    def build(self, shape: Any, *_: Any) -> None:
        """Make the weights; the input is [batch, sequence, hidden]."""
        for part in (self.query, self.key, self.value, self.attention_output, self.up):
            part.build(shape)
        self.down.build((*shape[:-1], self.up.units))
        self.attention_norm.build(shape)
        self.norm.build(shape)
        self.built = True

    def call(self, x: Any, position_bias: Any, padding_mask: Any) -> Any:
        """Return [batch, sequence, hidden].

        Args:
            x: [batch, sequence, hidden].
            position_bias: fp32 [1, heads, sequence, sequence].
            padding_mask: int32 [batch, sequence], 1 for a token and 0 for padding.
        """
        attended = self.attention_output(self._attend(x, position_bias, padding_mask))
        middle = self.attention_norm(x + self.dropout(attended))
        return self.norm(middle + self.dropout(self.down(self.up(middle))))

    def compute_output_shape(self, shape: Any, *_: Any) -> Any:
        """Return the shape of the input, which is that of the output."""
        return shape

    def parts(self) -> TransformerParts:
        """Return the layers inside."""
        return TransformerParts(
            query=self.query,
            key=self.key,
            value=self.value,
            attention_output=self.attention_output,
            attention_norm=self.attention_norm,
            up=self.up,
            down=self.down,
            norm=self.norm,
        )

    def _attend(self, x: Any, position_bias: Any, padding_mask: Any) -> Any:
        queries, keys, values = (
            self._by_head(part(x)) for part in (self.query, self.key, self.value)
        )
        scores = ops.matmul(queries * self.size**-0.5, ops.transpose(keys, (0, 1, 3, 2)))
        padded = 1 - ops.cast(padding_mask, "float32")
        # Sums and softmax are in fp32, whatever the precision of the layer.
        scores = ops.cast(scores, "float32") + position_bias + padded[:, None, None, :] * MASKED
        shares = self.dropout(ops.cast(ops.softmax(scores), self.compute_dtype))
        context = ops.transpose(ops.matmul(shares, values), (0, 2, 1, 3))
        return ops.reshape(context, ops.shape(x))

    def _by_head(self, x: Any) -> Any:
        """Go from [batch, sequence, hidden] to [batch, heads, sequence, size]."""
        batch, sequence = ops.shape(x)[:2]
        return ops.transpose(ops.reshape(x, (batch, sequence, self.heads, self.size)), (0, 2, 1, 3))


class MPNetBackbone(keras_hub.models.Backbone):
    """Token vectors of a text: [batch, sequence, hidden].

    The inputs are `token_ids` and `padding_mask`, each int32 [batch, sequence]. MPNet's own tables
    number positions from 2, because the first two rows belong to padding. Here these rows are
    dropped, so that a text's first token has row 0. `max_sequence_length` is the number of
    remaining rows.
    """

    def __init__(  # noqa: PLR0913 - the sizes of a model, by KerasHub's names
        self,
        *,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        max_sequence_length: int = 512,
        relative_buckets: int = 32,
        activation: Activation = "erf",
        dropout: float = 0,
        epsilon: float = 1e-5,
        dtype: Any = None,
        **settings: Any,
    ) -> None:
        embeddings = keras_hub.layers.TokenAndPositionEmbedding(
            vocabulary_size, max_sequence_length, hidden_dim, dtype=dtype, name="embeddings"
        )
        norm = keras.layers.LayerNormalization(
            epsilon=epsilon, dtype=dtype, name="embeddings_layer_norm"
        )
        bias = RelativePositionBias(
            num_heads, relative_buckets, max_sequence_length, name="relative_position_bias"
        )
        layers = [
            MPNetLayer(
                *(hidden_dim, num_heads, intermediate_dim, activation, dropout, epsilon),
                dtype=dtype,
                name=f"transformer_layer_{place}",
            )
            for place in range(num_layers)
        ]
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in ("token_ids", "padding_mask")
        }
        x = keras.layers.Dropout(dropout, dtype=dtype, name="embeddings_dropout")(
            norm(embeddings(inputs["token_ids"]))
        )
        position_bias = bias(inputs["token_ids"])
        for layer in layers:
            x = layer(x, position_bias, inputs["padding_mask"])
        super().__init__(inputs=inputs, outputs=x, dtype=dtype, **settings)
        self.embeddings, self.embeddings_layer_norm = embeddings, norm
        self.token_embedding, self.relative_position_bias = embeddings.token_embedding, bias
        self.transformer_layers = layers
        self.num_layers, self.num_heads = num_layers, num_heads
        self.hidden_dim, self.max_sequence_length = hidden_dim, max_sequence_length


class MPNetClassifier(keras.Model):
    """A head on a text's first token: fp32 logits [batch, classes].

    A dense layer with tanh, then a linear one, as in `MPNetForSequenceClassification`. The head
    computes in fp32, whatever the precision of the backbone.
    """

    def __init__(self, backbone: MPNetBackbone, classes: int, *, dropout: float = 0) -> None:
        pooled = keras.layers.Dense(
            backbone.hidden_dim, activation="tanh", dtype="float32", name="pooled_dense"
        )
        logits = keras.layers.Dense(classes, dtype="float32", name="logits")
        leave_out = keras.layers.Dropout(dropout, dtype="float32", name="pooled_dropout")
        inputs = backbone.input
        first = ops.cast(backbone(inputs)[:, 0, :], "float32")
        super().__init__(inputs, logits(leave_out(pooled(leave_out(first)))))
        self.backbone, self.pooled_dense, self.output_dense = backbone, pooled, logits


def bucket_of(distance: int, buckets: int) -> int:
    """Return the bucket of `distance = position attended to - position that attends`.

    Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
    Text-to-Text Transformer", section 2.1; MPNet uses the same buckets in both directions.

    One half of the buckets is for tokens at or before the attending one, the other half for those
    after it. In each half, the first half has one bucket a distance; the rest grow by a constant
    ratio up to `LAST_BUCKET_DISTANCE`.
    """
    side = buckets // 2
    offset, steps = (side if distance > 0 else 0), abs(distance)
    exact = side // 2
    if steps < exact:
        return offset + steps
    growth = np.log(steps / exact) / np.log(LAST_BUCKET_DISTANCE / exact)
    # In float64 the logarithm of a bucket's first distance may fall short of a whole number by one
    # unit in the last place; the definition, in exact numbers, does not.
    grown = int(growth * (side - exact) + 1e-9)
    return offset + min(exact + grown, side - 1)


def bucket_table(positions: int, buckets: int) -> npt.NDArray[np.int32]:
    """Return the bucket of every distance from `1 - positions` to `positions - 1`, in that order.

    The result is int32 [2 x positions - 1]; distance d stands at index `d + positions - 1`.
    """
    distances = range(1 - positions, positions)
    return np.array([bucket_of(distance, buckets) for distance in distances], np.int32)
