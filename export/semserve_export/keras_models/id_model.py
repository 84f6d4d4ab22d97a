"""Converts a Keras model of ids, of an encoder's inputs or of texts to a model of token ids."""

import inspect
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from semserve_export.bundle.tolerance import Rows
from semserve_export.errors import WeightsError
from semserve_export.failures import reason_of
from semserve_export.keras_models.nested_models import (
    output_of,
    require_unchanged,
    second_use,
    with_nested_open,
)
from semserve_export.keras_models.text_vectorization import require_settings
from semserve_export.model_spec import INPUTS
from semserve_export.models.keras_internals import made_by, sublayers

NAMES = {
    **{name: name for name in INPUTS},
    "input_ids": INPUTS[0],
    "input_word_ids": INPUTS[0],
    "token_type_ids": INPUTS[1],
    "input_type_ids": INPUTS[1],
    "attention_mask": INPUTS[2],
    "input_mask": INPUTS[2],
}
"""The names of an encoder's inputs in models, with their names in a bundle."""


LOOKUPS = (keras.layers.IntegerLookup, keras.layers.StringLookup, keras.layers.Hashing)
HALF = frozenset({"float16", "bfloat16"})


@dataclass(frozen=True)
class IdModel:
    """A model of token ids, and the layer of the given model that tokenises its texts."""

    model: Any  # fp32 [batch, outputs] from int32 [batch, sequence], or from a list of those
    given: Any  # the given model
    vectorization: Any = None  # its layer that tokenises texts
    names: tuple[
        str, ...
    ] = ()  # the bundle's names of its inputs, in its order, if there are several
    length: int | None = None  # of every sequence, if its input has a fixed length

    def call(self, model: Any, ids: Any, mask: Any, segments: Any) -> Any:
        """Run the model, or a part of it with the same inputs, on arrays or symbolic tensors.

        Args:
            model: `self.model`, or a part of it.
            ids: int32 [batch, sequence].
            mask: 1 for a token, 0 for padding; the same shape.
            segments: 1 for a token of a pair's second text, otherwise 0; the same shape.
        """
        if not self.names:
            return model(ids, training=False)
        values = dict(zip(INPUTS, (ids, segments, mask), strict=True))
        return model([values[name] for name in self.names], training=False)

    @cached_property
    def traced(self) -> Any:
        """The model, traced once for batches of every shape, as by Keras's predict."""
        shape = tf.TensorSpec([None, self.length], tf.int32)
        return tf.function(partial(self.call, self.model), input_signature=[shape] * len(INPUTS))

    def predict(self, ids: Any, mask: Any, segments: Any = None) -> Rows:
        """Run the model on arrays: fp32 [batch, outputs].

        Args:
            ids: int32 [batch, sequence].
            mask: the same shape.
            segments: the same shape; zeros if None.

        Raises:
            WeightsError: the model cannot run on ids of this length, or does not return one vector
                for each text.
        """
        try:
            given = ids, mask, np.zeros_like(ids) if segments is None else segments
            outputs = self.traced(*(np.asarray(each, np.int32) for each in given))
        except MemoryError:
            raise
        except Exception as error:  # a model's code may raise any error
            shape = np.shape(ids)
            raise WeightsError(
                f"model: cannot be run on token ids of the shape {shape}: {reason_of(error)}"
            ) from error
        if isinstance(outputs, dict | list | tuple):
            raise WeightsError("the model gives several outputs; export a model with one of them")
        return _one_row_a_text(outputs)

    @cached_property
    def traced_texts(self) -> Any:
        """The given model of texts, traced once."""
        shape = self.given.inputs[0].shape
        signature = [tf.TensorSpec([None, *shape[1:]], tf.string)]
        return tf.function(lambda texts: self.given(texts, training=False), signature)

    def predict_text(self, text: str) -> Rows:
        """Run the given model of texts on one: fp32 [1, outputs].

        Raises:
            WeightsError: it gives no vector a text.
        """
        shape = [1] * len(self.given.inputs[0].shape)
        outputs = self.traced_texts(tf.reshape(tf.constant(text.encode()), shape))
        return _one_row_a_text(keras.tree.flatten(outputs)[0])  # a model of one output may nest it

    @property
    def embedding_rows(self) -> int | None:
        """Number of rows of its only Embedding layer; None if it has several."""
        layers = [each for each in _flat(self.model) if isinstance(each, keras.layers.Embedding)]
        return int(layers[0].input_dim) if len(layers) == 1 else None

    @cached_property
    def positions(self) -> int | None:
        """Number of positions of KerasHub's position embeddings; None without any."""
        kind = keras_hub.layers.PositionEmbedding
        layers = [each for each in sublayers(self.model) if isinstance(each, kind)]
        return min((int(each.sequence_length) for each in layers), default=None)


def _one_row_a_text(outputs: Any) -> Rows:
    """Return a model's outputs as rows: fp32 [batch, outputs].

    Raises:
        WeightsError: it gives more than a vector for a text.
    """
    rows = np.asarray(outputs, np.float32)
    if rows.ndim > 2:  # noqa: PLR2004 - batch and outputs
        raise WeightsError(
            f"the model's output has {rows.ndim} axes, and a text needs one vector: end the model"
            " in a pooling layer, or take its last state"
        )
    return rows[:, None] if rows.ndim == 1 else rows


def read_inputs(model: Any) -> IdModel:
    """Determine the input of a model.

    Raises:
        WeightsError: the model was never built, or its input is neither ids nor texts.
    """
    if not model.built:
        raise WeightsError(
            "the model was never called, so it has no weights; call it on data, or train it, first"
        )
    require_servable(model)
    layers = [each for each in _flat(model) if isinstance(each, keras.layers.TextVectorization)]
    if len(layers) > 1:
        raise WeightsError("the model has two TextVectorization layers; export a model with one")
    if layers:
        return _after(model, layers[0])
    if not getattr(model, "inputs", None):
        _require_one_argument(model)
        return IdModel(model, model)
    return _of_ids(model.inputs, _only_output(model), model)


def require_servable(model: Any) -> None:
    """Refuse a model with a layer that cannot be exported.

    Raises:
        WeightsError: the message names the layer.
    """
    for layer in _flat(model):
        if getattr(layer, "stateful", False):
            raise WeightsError(
                f"the layer {layer.name} is stateful, so a text's answer would depend on the texts"
                " before it; build it with stateful=False"
            )
    _require_full_precision(model)
    _require_no_lookup(model)


def _require_no_lookup(model: Any) -> None:
    for layer in _flat(model):
        if isinstance(layer, LOOKUPS):
            raise WeightsError(
                f"the layer {layer.name} is of the class {type(layer).__name__}, whose table no"
                " ONNX graph holds; export the part of the model behind it, with a tokenizer that"
                " gives the ids that this part takes"
            )


def _require_full_precision(model: Any) -> None:
    """Refuse half precision and integers, because a graph cannot equal them within 1e-5."""
    for layer in (*_flat(model), model):
        if getattr(layer, "quantization_mode", None):
            raise WeightsError(
                f"the layer {layer.name} is quantised to {layer.quantization_mode}; export the"
                " model as it was before quantize(), as ONNX Runtime does not compute as it does"
            )
        if layer.compute_dtype in HALF:
            raise WeightsError(
                f"the layer {layer.name} computes in {layer.compute_dtype} (dtype policy"
                f" {layer.dtype_policy.name}), which ONNX Runtime does not reproduce; build the"
                " model with the policy float32, take over the weights, and export that"
            )


def _of_ids(inputs: Any, output: Any, given: Any, vectorization: Any = None) -> IdModel:
    names = tuple(one.name for one in inputs)
    only = inputs[0]
    if len(inputs) == 1 and "string" in str(only.dtype):
        raise WeightsError(
            "the model takes texts, and holds no TextVectorization layer that reads them;"
            " export the part that takes token ids, and give its tokenizer"
        )
    if len(only.shape) != 2:  # noqa: PLR2004 - batch and sequence
        raise WeightsError(
            f"the model's input {only.name} has the shape {tuple(only.shape)}; token ids have"
            " the shape (batch, sequence)"
        )
    if len(inputs) == 1:
        return IdModel(_between(only, output, given), given, vectorization, length=only.shape[1])
    known = tuple(NAMES.get(name, "") for name in names)
    if "" in known or len(set(known)) < len(known):
        raise WeightsError(
            f"the model's inputs are {', '.join(names)}; a model of one text takes token ids, or"
            f" {', '.join(INPUTS)}"
        )
    return IdModel(keras.Model(inputs, output), given, vectorization, known, only.shape[1])


def _between(ids: Any, output: Any, given: Any) -> Any:
    """Return the part of a model behind its token ids."""
    try:
        return keras.Model(ids, output)
    except ValueError as error:
        raise second_use(given.inputs[0].name) from error


def _after(model: Any, layer: Any) -> IdModel:
    """Return the part of a model after the layer that tokenises its texts."""
    require_settings(layer.get_config())
    model = with_nested_open(model, layer)
    inputs = model.inputs
    if len(inputs) > 1:
        names = ", ".join(one.name for one in inputs)
        raise WeightsError(f"the model's inputs are {names}; a model of one text has one")
    if not isinstance(model, keras.Sequential):
        ids = output_of(layer, model)
        require_unchanged(made_by(ids)[1][0], layer)
        return _of_ids([ids], _only_output(model), model, layer)
    ids = keras.Input((layer.get_config()["output_sequence_length"],), dtype="int64")
    outputs = ids
    for each in model.layers[model.layers.index(layer) + 1 :]:
        outputs = each(outputs)
    return _of_ids([ids], outputs, model, layer)


def _only_output(model: Any) -> Any:
    if len(model.outputs) != 1:
        names = ", ".join(map(str, model.output_names))
        raise WeightsError(f"the model has the outputs {names}; export a model with one of them")
    return model.outputs[0]


def _require_one_argument(model: Any) -> None:
    """Refuse a subclassed model whose call takes more than the ids."""
    parameters = inspect.signature(model.call).parameters.values()
    wanted = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
    ]
    if len(wanted) > 1:
        raise WeightsError(
            f"the model's call takes {', '.join(wanted)}; a model of one text takes token ids alone"
        )


def _flat(model: Any) -> list[Any]:
    """Return the layers of a model, including those of nested models and wrappers."""
    found, pending = [], [model]
    while pending:
        layer = pending.pop()
        inner = getattr(layer, "layers", None) or []
        found += [] if layer is model else [layer]
        pending += list(inner)
    return found
