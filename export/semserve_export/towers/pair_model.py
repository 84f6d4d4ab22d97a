"""A model of two texts without towers: a classifier or score model with separate text inputs."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from semserve_export.bundle.tolerance import Rows
from semserve_export.errors import WeightsError
from semserve_export.keras_models.head import Loss, as_logits, read_keras_head
from semserve_export.keras_models.id_model import IdModel, require_servable
from semserve_export.keras_models.proof import proof_texts
from semserve_export.keras_models.sequences.detection import find_sequences
from semserve_export.keras_models.sequences.sequence_format import SequenceFormat, SequenceLayer
from semserve_export.keras_models.task import TaskReading, read_task
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.keras_models.tokenizer_sources import find_source
from semserve_export.model_spec import (
    HYPOTHESIS_FIRST,
    INPUTS,
    INPUTS_WITHOUT_SEGMENTS,
    PREMISE_FIRST,
    ModelSpec,
    TextOrder,
)
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.report import Fact, Origin
from semserve_export.tokenizers.bert_wordpiece import RIGHT_INPUTS
from semserve_export.towers.encoders import behind_readers, rebuilt
from semserve_export.towers.pairs import Pair, Reading, SeparateProof, answers, make_pairs
from semserve_export.towers.served import ModelSource
from semserve_export.towers.two_texts import TwoTexts

SHORTEST_LIMIT = 3  # tokens: the smallest max_sequence_length of the server
MOST_GOLDEN = 16  # pairs
OTHER_LENGTH = 5  # tokens of the other text, while one side is tested
SUFFIXES = ("", "_right")
SEGMENTS = Fact("segment ids", "0 for both texts: each is a sequence of its own", "assumed")


def load_pair_model(options: ModelOptions, texts: TwoTexts, source: ModelSource) -> LoadedModel:
    """Determine all properties that an export needs of a model that compares no vectors.

    Raises:
        WeightsError: a property is unsupported, or cannot be determined.
    """
    if len(texts.model.outputs) != 1:
        outputs = ", ".join(str(one.name) for one in texts.model.outputs)
        raise WeightsError(f"the model has the outputs {outputs}; export a model with one of them")
    require_servable(texts.model)
    whole, reader = _of_ids(texts)
    if reader is not None and options.tokenizer not in {None, reader}:
        raise WeightsError("tokenizer: the model holds its own; leave tokenizer out")
    sides = [_OneSide.of(whole, suffix) for suffix in SUFFIXES]
    tokens = find_source(options.tokenizer if reader is None else reader, sides[0], None)
    tokens.require_agreement()
    number = max(tokens.tokenizer.get_vocab().values()) + 1
    left, right = (find_sequences(options, side, tokens, number) for side in sides)
    pairs, rows = _answered(texts, tokens, (left, right))
    loss = source.loss or Loss.of_model(options.live)
    head = read_keras_head(whole, rows, loss, options.scores)
    task = options.task or ("score" if head.outputs == 1 else "classification")
    one_text = replace(options, pair=False, text_order=None, task=task)
    task_reading = read_task(one_text, head, rows, loss)
    names = texts.side_names()
    order, stated = _text_order(options, names)
    if left.truncating != right.truncating:
        raise WeightsError("truncating: the two sides cut long texts on different ends")
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"{task_reading.task} of two texts by a Keras model",
        task=task_reading.task,
        max_sequence_length=max(SHORTEST_LIMIT, left.max_tokens, right.max_tokens),
        labels=task_reading.labels,
        scores=task_reading.scores,
        pair=True,
        inputs=(*INPUTS_WITHOUT_SEGMENTS, *RIGHT_INPUTS),
        separate=True,
        text_order=order,
        truncation="start" if left.truncating == "pre" else "end",
    )
    return LoadedModel(
        spec=spec,
        keras_model=_serve(whole, (left, right), task_reading),
        tokenizer=tokens.tokenizer,
        source=source.source,
        sha256=source.sha256,
        licence=source.licence,
        notice=f"{spec.name}: exported by semserve-export from {source.source}.\n",
        facts=(
            *task_reading.facts,
            Fact("left text, right text", "; ".join(names)),
            Fact("order of the texts", ", ".join(order), stated),
            Fact("towers", "none: the two texts are separate inputs of one graph"),
            *([SEGMENTS] if INPUTS[1] in sides[0].names else []),
            Fact("tokenizer", tokens.title, "found" if reader is not None else "stated"),
        ),
        proofs=(
            SeparateProof(pairs, rows, head.scores, spec.max_sequence_length, spec.truncation),
        ),
        texts=_golden(tokens, spec, pairs),
    )


def _of_ids(texts: TwoTexts) -> tuple[Any, Any]:
    """Rebuild the model after its tokenizing layer.

    Returns:
        A Functional model with the bundle's input names, with the suffix `_right` for the right
        text; and the tokenizing layer, or None.
    """
    sides = [
        {role: texts.model.inputs[place] for role, place in side.items()}
        for side in (texts.left, texts.right)
    ]
    opened, inputs, reader = behind_readers(texts.model, sides)
    named = {
        f"{name}{suffix}": tensor
        for suffix, side in zip(SUFFIXES, inputs, strict=True)
        for name, tensor in side.items()
    }
    return rebuilt(named, opened.outputs[0]), reader


@dataclass(frozen=True, slots=True)
class _OneSide(IdModel):
    """The model as one of one text; the other text stays the same."""

    suffix: str = ""

    @classmethod
    def of(cls, whole: Any, suffix: str) -> "_OneSide":
        lengths = {tensor.name: tensor.shape[1] for tensor in whole.inputs}
        side_names = tuple(name for name in INPUTS if f"{name}{suffix}" in lengths)
        names = side_names if len(side_names) > 1 else ()
        return cls(whole, whole, None, names, lengths[f"{INPUTS[0]}{suffix}"], suffix)

    def call(self, model: Any, ids: Any, mask: Any, segments: Any) -> Any:
        """Run the model on one text with a fixed other text: arrays int32 [batch, sequence]."""
        given = []
        for tensor in self.model.inputs:
            name = tensor.name.removesuffix(SUFFIXES[1])
            if (self.suffix != "") == (name != tensor.name):
                value = dict(zip(INPUTS, (ids, segments, mask), strict=True))[name]
            else:
                shape = (ops.shape(ids)[0], tensor.shape[1] or OTHER_LENGTH)
                value = ops.broadcast_to(np.int32(name != INPUTS[1]), shape)
            given.append(value)
        return model(given, training=False)


def _answered(
    texts: TwoTexts, tokens: TokenSource, sequences: tuple[SequenceFormat, SequenceFormat]
) -> tuple[tuple[Pair, ...], Rows]:
    """Return pairs for which the model has finite outputs, and these: fp32 [pairs, outputs]."""
    pairs = make_pairs(proof_texts(tokens.words))
    readings = Reading(tokens, sequences[0]), Reading(tokens, sequences[1])
    rows = answers(texts, readings, pairs)
    known = [bool(np.isfinite(row).all()) for row in rows]
    return tuple(pair for pair, good in zip(pairs, known, strict=True) if good), rows[known]


def _serve(
    whole: Any, sequences: tuple[SequenceFormat, SequenceFormat], task_reading: TaskReading
) -> Any:
    """Build the model to serve: int32 [batch, sequence] for each of four inputs."""
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in (*INPUTS_WITHOUT_SEGMENTS, *RIGHT_INPUTS)
    }
    values: dict[str, Any] = {}
    for suffix, laid in zip(SUFFIXES, sequences, strict=True):
        token_ids, mask = (inputs[f"{name}{suffix}"] for name in INPUTS_WITHOUT_SEGMENTS)
        ids = SequenceLayer(laid)(token_ids, mask)
        values |= {
            f"{INPUTS[0]}{suffix}": ids,
            f"{INPUTS[1]}{suffix}": ops.zeros_like(ids),
            f"{INPUTS[2]}{suffix}": SequenceLayer(laid.of_mask)(mask, mask),
        }
    head = task_reading.head
    outputs = (head.body or whole)([values[tensor.name] for tensor in whole.inputs])
    if len(outputs.shape) == 1:
        outputs = ops.expand_dims(outputs, 1)
    if head.scores and head.body is None:
        outputs = as_logits(outputs, head.scores)
    return keras.Model(inputs, ops.cast(outputs, "float32"))


def _golden(tokens: TokenSource, spec: ModelSpec, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Return the pairs of golden answers, whose texts have a token and are not truncated."""

    def fits(text: str) -> bool:
        size = len(tokens.tokenizer.encode(text).ids)
        return bool(text) and 0 < size <= spec.max_sequence_length

    return tuple(pair for pair in pairs if all(map(fits, pair)))[:MOST_GOLDEN]


def _text_order(options: ModelOptions, names: tuple[str, str]) -> tuple[TextOrder, Origin]:
    """Return the left text of a pair: from the options, from the input names, or the premise.

    Args:
        options: the options of the export.
        names: names of the inputs of each side.
    """
    if options.text_order:
        return options.text_order, "stated"
    left, right = (name.lower() for name in names)
    if "hypothesis" in left and "premise" in right:
        return HYPOTHESIS_FIRST, "found"
    return PREMISE_FIRST, "found" if "premise" in left else "assumed"
