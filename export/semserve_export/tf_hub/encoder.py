"""The encoder inside a SavedModel: its inputs and outputs by name, as a layer of Keras.

TF Hub's BERTs take `input_word_ids`, `input_mask` and `input_type_ids`, int32 [batch, sequence],
and give `pooled_output` [batch, hidden] and `sequence_output` [batch, sequence, hidden].
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from semserve_export.errors import WeightsError

WORD_IDS, MASK, TYPE_IDS = "input_word_ids", "input_mask", "input_type_ids"
INPUTS = {WORD_IDS: "token_ids", MASK: "padding_mask", TYPE_IDS: "segment_ids"}
"""The bundle's name of each input."""
POOLED, TOKENS = "pooled_output", "sequence_output"
SIGNATURE = "serving_default"
FORM = f"{WORD_IDS}, {MASK} and {TYPE_IDS}, as TF Hub's BERTs take"


@dataclass(frozen=True, slots=True)
class SavedEncoder:
    """A signature of a SavedModel that encodes token ids."""

    program: Any  # the SavedModel; TensorFlow frees its variables with it
    signature: Any
    inputs: dict[str, Any]  # tensor specifications by name
    outputs: tuple[str, ...]

    @property
    def length(self) -> int | None:
        """The fixed length of sequences in the signature; None for any length."""
        shape = self.inputs[WORD_IDS].shape
        return int(shape[1]) if shape[1] is not None else None

    @property
    def batch(self) -> int | None:
        """The fixed batch size in the signature; None for any size."""
        size = self.inputs[WORD_IDS].shape[0]
        return int(size) if size is not None else None

    def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        """Run the signature on int32 tensors, by the names of the SavedModel."""
        cast = {name: tf.cast(value, self.inputs[name].dtype) for name, value in given.items()}
        found: dict[str, Any] = self.signature(**cast)
        return found


def read_saved_model(directory: Path) -> SavedEncoder:
    """Load a SavedModel, which runs its code, and find its encoder.

    Raises:
        WeightsError: it has no signature like those of TF Hub's BERTs.
    """
    program = tf.saved_model.load(str(directory))
    names = [name for name in program.signatures if not name.startswith("__")]
    if not names:
        raise WeightsError(
            f"the SavedModel has no signature; save it with one that takes {FORM}:"
            " tf.saved_model.save(model, path, signatures=...)"
        )
    if SIGNATURE not in names and len(names) > 1:
        raise WeightsError(
            f"the SavedModel has the signatures {', '.join(sorted(names))}, and none of them is"
            f" {SIGNATURE}; save it with the encoder's under that name"
        )
    signature = program.signatures[SIGNATURE if SIGNATURE in names else names[0]]
    inputs = dict(signature.structured_input_signature[1])
    _require_inputs(inputs)
    outputs = tuple(sorted(signature.structured_outputs))
    if not {POOLED, TOKENS} & set(outputs):
        raise WeightsError(
            f"the SavedModel's outputs are {', '.join(outputs)}; give its signature the outputs"
            f" {POOLED} and {TOKENS}, as TF Hub's BERTs have"
        )
    return SavedEncoder(program, signature, inputs, outputs)


def _require_inputs(inputs: dict[str, Any]) -> None:
    texts = [name for name, spec in inputs.items() if spec.dtype == tf.string]
    if texts:
        raise WeightsError(
            f"the SavedModel's input {texts[0]!r} is a string: its preprocessing is inside, as"
            " operations that ONNX does not have; save the encoder behind the preprocessing, with"
            f" the inputs {FORM}, and keep its vocabulary in assets/vocab.txt or give tokenizer="
            " (--tokenizer)"
        )
    if not ({WORD_IDS, MASK} <= set(inputs) <= set(INPUTS)):
        raise WeightsError(
            f"the SavedModel's inputs are {', '.join(sorted(inputs))}; what can be exported takes"
            f" {FORM}"
        )
    for name, spec in inputs.items():
        if len(spec.shape) != 2 or not (spec.dtype.is_integer or spec.dtype.is_floating):  # noqa: PLR2004
            raise WeightsError(
                f"the SavedModel's input {name} is a {spec.dtype.name} {tuple(spec.shape)}; it must"
                " be int32 [batch, sequence]"
            )


@keras.saving.register_keras_serializable("semserve")
class SavedEncoderLayer(keras.layers.Layer):
    """Runs the encoder of a SavedModel on the inputs of a bundle, and returns one output."""

    def __init__(self, encoder: SavedEncoder, output: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.encoder, self.output_name = encoder, output

    def call(self, inputs: dict[str, Any]) -> Any:
        """Return fp32 [batch, hidden] or [batch, sequence, hidden] for int32 [batch, sequence]."""
        given = {name: inputs[served] for name, served in INPUTS.items() if served in inputs}
        if self.encoder.length is not None:
            given = {name: padded_to(value, self.encoder.length) for name, value in given.items()}
        return tf.cast(self.encoder(given)[self.output_name], tf.float32)


class PaddedTo(keras.layers.Layer):
    """Pads a batch's rows with zeros to one length."""

    def __init__(self, length: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.length = length

    def call(self, inputs: Any) -> Any:
        """Pad: int32 [batch, sequence] to int32 [batch, length]."""
        return padded_to(inputs, self.length)


def padded_to(value: Any, length: int) -> Any:
    """Pad a batch's rows with zeros to one length: int32 [batch, length]."""
    value = value[:, :length]
    padded = tf.pad(value, [[0, 0], [0, length - tf.shape(value)[1]]])
    return tf.ensure_shape(padded, [None, length])
