"""Runs a model of two texts on pairs, and compares a bundle with its outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tokenizers import Tokenizer

from semserve_export.bundle.layout import GRAPH, TOKENIZER
from semserve_export.bundle.tolerance import TOLERANCE, Rows, Run, onnx_run, scaled_difference
from semserve_export.keras_models.head import apply_scores
from semserve_export.keras_models.id_model import read_inputs
from semserve_export.keras_models.sequences.detection import find_sequences
from semserve_export.keras_models.sequences.sequence_format import SequenceFormat
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.keras_models.tokenizer_sources import find_source
from semserve_export.model_spec import INPUTS, Scores
from semserve_export.options import ModelOptions
from semserve_export.report import Measure
from semserve_export.tokenizers.bert_wordpiece import Encoding, pad
from semserve_export.towers.comparison import Comparison, Wide, difference
from semserve_export.towers.encoders import strings
from semserve_export.towers.input_roles import TEXT, Roles
from semserve_export.towers.two_texts import TwoTexts

Pair = tuple[str, str]
Truncation = Literal["end", "start"]
TOGETHER = 7  # pairs in a batch
MORE_PADDING = 9  # tokens


@dataclass(frozen=True, slots=True)
class Reading:
    """Converts the texts of one side to inputs of the model."""

    tokens: TokenSource
    sequences: SequenceFormat

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts, truncated and without padding."""
        return self.tokens.read_cut(texts, self.sequences.max_tokens, self.sequences.truncating)


def read_side(options: ModelOptions, model: Any) -> Reading:
    """Determine the conversion from texts to inputs of a model of token ids."""
    ids = read_inputs(model)
    tokens = find_source(options.tokenizer, ids, ids.embedding_rows)
    number = max(tokens.tokenizer.get_vocab().values()) + 1
    return Reading(tokens, find_sequences(options, ids, tokens, number))


def make_pairs(texts: Sequence[str]) -> tuple[Pair, ...]:
    """Pair different texts, so that each is left once and right once."""
    step = max(1, len(texts) // 3)
    others = [*texts[step:], *texts[:step]]
    return tuple(pair for pair in zip(texts, others, strict=True) if pair[0] != pair[1])


def answers(texts: TwoTexts, readings: tuple[Reading, Reading], pairs: Sequence[Pair]) -> Rows:
    """Run the model on pairs, each alone: fp32 [pairs, outputs].

    A model that takes strings gets the strings, so that its own tokenizer is used. If it fails for
    a text without a token, the row is NaN.
    """
    model = keras.Model(texts.model.inputs, texts.model.outputs)
    run = traced(model)
    read = [reading.ids([pair[side] for pair in pairs]) for side, reading in enumerate(readings)]
    rows: list[Rows | None] = []
    for number, pair in enumerate(pairs):
        given: list[Any] = [None] * len(model.inputs)
        for place, side in enumerate((texts.left, texts.right)):
            ids = read[place][number]
            for at, value in _given(model, pair[place], ids, side, readings[place].sequences):
                given[at] = value
        try:
            answer = run(given)
        except tf.errors.OpError:
            if read[0][number] and read[1][number]:
                raise
            rows.append(None)  # for example, TensorFlow's LSTM fails for a text without a token
            continue
        only = answer[0] if isinstance(answer, list | tuple) else answer
        rows.append(np.asarray(only, np.float32).reshape(1, -1))
    outputs = next(row.shape[1] for row in rows if row is not None)
    unknown = np.full((1, outputs), np.nan, np.float32)
    return np.concatenate([unknown if row is None else row for row in rows])


def traced(model: Any) -> Any:
    """Return a function that runs a Functional model on a list of inputs, traced once.

    Without tracing, an LSTM needs a Python call for every token.
    """
    signature = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in model.inputs]
    return tf.function(
        lambda given: model(given, training=False), input_signature=[signature], autograph=False
    )


def _given(
    model: Any, text: str, read: Sequence[int], side: Roles, sequences: SequenceFormat
) -> list[tuple[int, Any]]:
    """Return the inputs for a text by their indices."""
    if TEXT in side:
        return [(side[TEXT], strings([text], model.inputs[side[TEXT]]))]
    ids, mask = sequences.row(read)
    values = dict(zip(INPUTS, (ids, np.zeros_like(ids), mask), strict=True))
    return [
        (place, ops.cast(values[role], model.inputs[place].dtype)) for role, place in side.items()
    ]


@dataclass(frozen=True, slots=True)
class TowerProof:
    """Compares the similarities of a bundle's vectors with the model's outputs for pairs."""

    pairs: tuple[Pair, ...]
    expected: Wide  # [pairs]
    comparison: Comparison
    max_length: int
    truncation: Truncation

    def __call__(self, directory: Path) -> Measure:
        """Compare pairs alone, in batches, and with additional padding."""
        run, tokenizer = _opened(directory)
        sides = [
            [
                Encoding(ids, [0] * len(ids), side=side)
                for ids in _cut(tokenizer, [one[side] for one in self.pairs], self)
            ]
            for side in (0, 1)
        ]
        found = [
            self.comparison(left, right)
            for left, right in zip(
                *(_three_ways(run, side, self.max_length) for side in sides), strict=True
            )
        ]
        return Measure(
            f"predict on {len(self.pairs)} pairs of texts, and {self.comparison.metric} of vectors",
            max(difference(values, self.expected) for values in found),
            TOLERANCE,
        )


@dataclass(frozen=True, slots=True)
class SeparateProof:
    """Compares the graph of a model with two text inputs with the model's outputs for pairs."""

    pairs: tuple[Pair, ...]
    expected: Rows  # fp32 [pairs, outputs]
    applied: Scores | None  # the function that the model applies to its logits
    max_length: int
    truncation: Truncation

    def __call__(self, directory: Path) -> Measure:
        """Run pairs alone, in batches, and with additional padding."""
        run, tokenizer = _opened(directory)
        lefts, rights = (
            _cut(tokenizer, [pair[side] for pair in self.pairs], self) for side in (0, 1)
        )
        encodings = [
            Encoding(left, [0] * len(left), right=right)
            for left, right in zip(lefts, rights, strict=True)
        ]
        worst = max(
            scaled_difference(apply_scores(rows, self.applied), self.expected)
            for rows in _three_ways(run, encodings, self.max_length)
        )
        return Measure(f"predict on {len(self.pairs)} pairs of texts", worst, TOLERANCE)


def _cut(
    tokenizer: Tokenizer, texts: Sequence[str], proof: TowerProof | SeparateProof
) -> list[list[int]]:
    """Tokenise texts as the server does, each alone."""
    direction = "left" if proof.truncation == "start" else "right"
    tokenizer.enable_truncation(proof.max_length, direction=direction)
    return [one.ids for one in tokenizer.encode_batch(list(texts))]


def _opened(directory: Path) -> tuple[Run, Tokenizer]:
    return onnx_run(directory / GRAPH), Tokenizer.from_file(str(directory / TOKENIZER))


def _three_ways(run: Run, encodings: Sequence[Encoding], max_length: int) -> list[Rows]:
    """Run encodings alone, in batches, and in batches with more padding: fp32 [n, outputs] each.

    Args:
        run: the graph.
        encodings: encodings of texts or pairs.
        max_length: largest number
            of columns of a batch.
    """
    longest = max(1, *map(len, encodings))
    alone = [run(pad([one], max(1, len(one)))) for one in encodings]
    batches = [encodings[start : start + TOGETHER] for start in range(0, len(encodings), TOGETHER)]
    together, padded = (
        [run(pad(batch, length)) for batch in batches]
        for length in (longest, max(longest, min(longest + MORE_PADDING, max_length)))
    )
    return [np.concatenate(rows) for rows in (alone, together, padded)]
