"""Measures the difference of two implementations of a model on padded batches of many shapes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import tensorflow as tf

from semserve_export.errors import BundleError, FidelityError
from semserve_export.model_spec import INPUTS
from semserve_export.tokenizers.bert_wordpiece import Encoding, Inputs, pad

Rows = npt.NDArray[np.float32]
Run = Callable[[Inputs], Rows]

TOLERANCE = 1e-5
"""Largest permitted `scaled_difference` of two fp32 implementations."""
SHAPES = ((1, 2), (1, 7), (2, 16), (3, 33), (4, 5), (8, 24), (16, 64), (5, 97))
SEED = 7
FATAL = 4  # ONNX Runtime's level of logs


def keras_run(model: Any, names: Sequence[str] = INPUTS) -> Run:
    """Run a Keras model in inference mode, traced once for batches of every shape.

    For an encoder or an LSTM, tracing takes one second, and then a run takes a tenth of the time of
    an untraced run.

    Args:
        model: takes a dictionary of inputs.
        names: names of its inputs; other inputs of a batch are dropped.
    """
    shapes = {tensor.name: [None, *tensor.shape[1:]] for tensor in model.inputs}
    signature = [{name: tf.TensorSpec(shapes[name], tf.int32) for name in names}]
    traced = tf.function(
        lambda given: model(given, training=False), input_signature=signature, autograph=False
    )

    def run(inputs: Inputs) -> Rows:
        return np.asarray(traced({name: inputs[name] for name in names}), np.float32)

    return run


def onnx_run(path: Path) -> Run:
    """Run a graph in ONNX Runtime on the CPU; it gets those inputs of a batch that it has.

    Raises:
        BundleError: ONNX Runtime cannot load the graph; in a run, it cannot compute the batch.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL  # an error says the same
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no ancestor of their own
        raise BundleError(f"{path}: ONNX Runtime cannot load it: {_first_line(error)}") from error
    names = [one.name for one in session.get_inputs()]

    def run(inputs: Inputs) -> Rows:
        given = {name: inputs[name] for name in names}
        try:
            (rows,) = session.run(None, given)
        except Exception as error:  # ONNX Runtime's errors have no ancestor of their own
            shape = given[names[0]].shape
            raise BundleError(
                f"{path.name}: ONNX Runtime cannot compute a batch of the shape {shape}:"
                f" {_first_line(error)}"
            ) from error
        return np.asarray(rows)

    return run


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True, slots=True)
class Difference:
    """The differences of rows from the expected rows; NaN if any value is NaN."""

    absolute: float  # the largest of any value
    scaled: float  # as in `scaled_difference`


def scaled_difference(rows: Rows, expected: Rows) -> float:
    """Return the largest difference from the expected rows, relative to the scale of each row.

    A row is within the tolerance t if each of its values differs by at most t + t * s, where s is
    the largest absolute value of the expected row. Therefore the result is the maximum of |row -
    expected| / (1 + s), and its limit is t. The export's gates, `verify` and the server's check of
    golden answers use the same measure.

    The scale belongs to the row and not to each value, because a value near zero is the sum of
    terms as large as the other values of the row. For example, rows of a BERT of 12 layers, 768
    wide, reached 10 and differed by at most 2.1e-5: 1.9e-5 of 1 + |value|, and 1.9e-6 of 1 + s.

    Args:
        rows: fp32 [n, outputs].
        expected: fp32 [n, outputs].
    """
    scale = 1 + np.abs(expected).max(axis=1)
    return float((np.abs(rows - expected).max(axis=1) / scale).max())


def compare(reference: Run, other: Run, batches: Sequence[Inputs]) -> Difference:
    """Run both implementations on every batch, and return the largest difference of any row.

    A single NaN makes the result NaN; Python's max would ignore it.
    """
    pairs = [(other(batch), reference(batch)) for batch in batches]
    return Difference(
        absolute=float(np.max([np.abs(rows - expected).max() for rows, expected in pairs])),
        scaled=float(np.max([scaled_difference(*pair) for pair in pairs])),
    )


def largest_difference(reference: Run, other: Run, batches: Sequence[Inputs]) -> float:
    """Return the largest absolute difference over every value of every row of the batches."""
    return compare(reference, other, batches).absolute


def require_close(difference: float, tolerance: float, what: str) -> None:
    """Refuse a difference that exceeds the tolerance or is NaN.

    Raises:
        FidelityError: the difference is above the tolerance.
    """
    if not difference <= tolerance:
        raise FidelityError(
            f"{what}: ONNX Runtime differs from Keras by {difference:.2g} of a row's scale, at most"
            f" {tolerance:.2g} is allowed; nothing was written"
        )


def padded_batches(
    encodings: Sequence[Encoding],
    vocabulary_size: int | None,
    max_length: int,
    *,
    pair: bool,
    sides: bool = False,
    separate: bool = False,
) -> list[Inputs]:
    """Make batches for a comparison, from real encodings and from random ones of many shapes.

    Args:
        encodings: encodings of real texts; they are used alone, together, and together with more
            padding.
        vocabulary_size: limit of random token ids; None for no random encodings.
        max_length: maximum length of the model; the last shapes have this length.
        pair: whether random rows have a second segment.
        sides: whether random rows alternate between the two sides.
        separate: whether random rows have a second text.
    """
    longest = max(map(len, encodings))
    batches = [pad([encoding]) for encoding in encodings]
    batches += [pad(encodings), pad(encodings[:5], min(max_length, longest + 3))]
    if vocabulary_size is None:
        return [*batches, pad(encodings[:3], max_length)]
    random = np.random.default_rng(SEED)
    shapes = [*((rows, min(columns, max_length)) for rows, columns in SHAPES), (3, max_length)]
    for rows, columns in shapes:
        drawn = list(
            _random_encodings(random, rows, columns, vocabulary_size, pair=pair and not separate)
        )
        if sides:
            drawn = [replace(one, side=row % 2) for row, one in enumerate(drawn)]
        if separate:
            others = _random_encodings(random, rows, columns, vocabulary_size, pair=False)
            drawn = [
                replace(one, right=other.token_ids)
                for one, other in zip(drawn, others, strict=True)
            ]
        batches.append(pad(drawn, columns))
    return batches


def _random_encodings(
    random: np.random.Generator, rows: int, columns: int, vocabulary_size: int, *, pair: bool
) -> Iterator[Encoding]:
    for _ in range(rows):
        length = int(random.integers(2, columns + 1))
        first = int(random.integers(1, length)) if pair else length
        token_ids = random.integers(0, vocabulary_size, length).tolist()
        yield Encoding(token_ids, [0] * first + [1] * (length - first))
