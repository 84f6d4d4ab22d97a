"""How closely two ways to run a model agree, on padded batches of many shapes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import tensorflow as tf

from semserve_export.errors import FidelityError
from semserve_export.spec import INPUTS
from semserve_export.tokenizer import Encoding, Inputs, pad

Rows = npt.NDArray[np.float32]
Run = Callable[[Inputs], Rows]

TOLERANCE = 1e-5  # largest absolute difference of any value of any row, fp32 against fp32
SHAPES = ((1, 2), (1, 7), (2, 16), (3, 33), (4, 5), (8, 24), (16, 64), (5, 97))
SEED = 7


def keras_run(model: Any, names: Sequence[str] = INPUTS) -> Run:
    """Run a Keras model in inference mode, eagerly: no tracing, so every shape costs the same.

    Args:
        model: it takes a dictionary of the inputs.
        names: those of its inputs; what else a batch has is left out.
    """

    def run(inputs: Inputs) -> Rows:
        given = {name: inputs[name] for name in names}
        return np.asarray(model(given, training=False), np.float32)

    return run


def traced_keras_run(model: Any, names: Sequence[str] = INPUTS) -> Run:
    """Run a Keras model in inference mode, traced once for batches of every shape.

    Of an encoder a run takes a tenth of what `keras_run` takes, after one second.
    """
    signature = [{name: tf.TensorSpec([None, None], tf.int32) for name in names}]
    traced = tf.function(
        lambda given: model(given, training=False), input_signature=signature, autograph=False
    )

    def run(inputs: Inputs) -> Rows:
        return np.asarray(traced({name: inputs[name] for name in names}), np.float32)

    return run


def onnx_run(path: Path) -> Run:
    """Run a graph in ONNX Runtime on the CPU, with those inputs of a batch that it has."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(inputs: Inputs) -> Rows:
        (rows,) = session.run(None, {name: inputs[name] for name in names})
        return np.asarray(rows)

    return run


def largest_difference(reference: Run, other: Run, batches: Sequence[Inputs]) -> float:
    """Return the largest absolute difference over every value of every row of the batches.

    One NaN anywhere makes it NaN, which Python's own max would pass over.
    """
    return float(np.max([np.abs(reference(batch) - other(batch)).max() for batch in batches]))


def require_close(difference: float, tolerance: float, what: str) -> None:
    """Refuse what differs too much, or is not a number at all.

    Raises:
        FidelityError: the difference is above the tolerance.
    """
    if not difference <= tolerance:
        raise FidelityError(
            f"{what}: ONNX Runtime differs from Keras by {difference:.2g},"
            f" at most {tolerance:.2g} is allowed; nothing was written"
        )


def padded_batches(
    encodings: Sequence[Encoding], vocabulary_size: int, max_length: int, *, pair: bool
) -> list[Inputs]:
    """Make batches for a comparison: real encodings, and random ones in many shapes.

    Args:
        encodings: of real texts; they come alone, together, and together with more padding.
        vocabulary_size: random token ids are below it.
        max_length: the model's longest sequence; the last shapes reach it.
        pair: whether random rows have a second segment.
    """
    longest = max(map(len, encodings))
    batches = [pad([encoding]) for encoding in encodings]
    batches += [pad(encodings), pad(encodings[:5], min(max_length, longest + 3))]
    random = np.random.default_rng(SEED)
    shapes = [*((rows, min(columns, max_length)) for rows, columns in SHAPES), (3, max_length)]
    for rows, columns in shapes:
        drawn = list(_random_encodings(random, rows, columns, vocabulary_size, pair=pair))
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
