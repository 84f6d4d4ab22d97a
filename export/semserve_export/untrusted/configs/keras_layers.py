"""A saved model of Keras's own layers: an allow-list for the config of a `.keras` file.

As for the models of KerasHub, the config is rewritten before Keras reads it. It may name the
layers below and operations of `keras.ops`, with settings that are plain values within bounds.
"""

import re
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.untrusted.saved_limits import MOST_PARAMETERS, SMALL, check_number
from semserve_export.untrusted.saved_objects import NOT_LOADED, REASONS

MODELS = frozenset({"Functional", "Sequential", "Model"})
LAYERS = frozenset(
    """
    InputLayer Embedding Masking Dense EinsumDense Dropout SpatialDropout1D GaussianNoise
    GaussianDropout AlphaDropout Activation ReLU LeakyReLU PReLU ELU Softmax LSTM GRU SimpleRNN
    LSTMCell GRUCell SimpleRNNCell StackedRNNCells RNN Bidirectional TimeDistributed Conv1D
    SeparableConv1D DepthwiseConv1D ZeroPadding1D Cropping1D UpSampling1D MaxPooling1D
    AveragePooling1D GlobalMaxPooling1D GlobalAveragePooling1D Flatten Reshape Permute RepeatVector
    BatchNormalization LayerNormalization GroupNormalization UnitNormalization Attention
    AdditiveAttention MultiHeadAttention GroupQueryAttention Add Subtract Multiply Average Maximum
    Minimum Concatenate Dot Identity TextVectorization
    """.split()  # noqa: SIM905 - a list of one name a line is no easier to read
)
MODULES = frozenset(
    {"keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers"}
    | {"keras.constraints", "keras.dtype_policies", "keras.src.models.functional"}
    | {"keras.src.models.sequential"}
)
PARTS = frozenset(
    """
    GlorotUniform GlorotNormal HeUniform HeNormal LecunUniform LecunNormal Zeros Ones Constant
    RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal OrthogonalInitializer
    Identity L1 L2 L1L2 OrthogonalRegularizer MaxNorm NonNeg UnitNorm MinMaxNorm DTypePolicy
    """.split()  # noqa: SIM905 - as above
)
OPERATIONS = re.compile(r"keras\.src\.ops\.(numpy|math|nn|linalg|core)")
VALUES = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__tuple__", "__slice__"})
"""Keras's class names for a tensor of the graph, a constant, a tuple and a slice."""
READS_FILES = frozenset({"vocabulary", "idf_weights"})
"""Settings of TextVectorization: lists of words, or the path of a file, which is refused."""
DROPPED = NOT_LOADED | {"shared_object_id"}
PLAIN = re.compile(r"[\w .+/:>-]{0,200}")
LARGEST = {"units": 1_000_000, "filters": 1_000_000, "output_dim": 1_000_000}
LONGEST_WORD = 4000  # characters
CODE = "trust the file with --trust, or save the model without it"
OWN = "call semserve_export.export in the program that defines it"


def is_of_layers(saved: dict[str, Any]) -> bool:
    """Whether a saved model is Functional or Sequential, and not a model of KerasHub."""
    package = str(saved.get("registered_name") or "").partition(">")[0]
    return saved.get("class_name") in MODELS and package not in {"keras_hub", "keras_nlp"}


def checked_layers(saved: dict[str, Any], stored: int | None = None) -> dict[str, Any]:
    """Rewrite a saved model of layers with only allowed objects.

    Args:
        saved: the model's JSON; it is not changed.
        stored: number of values of its weights, if known.

    Raises:
        WeightsError: it contains an object that is not allowed; the message names it.
    """
    checked: dict[str, Any] = _checked("", saved)
    if stored is not None:
        _check_tables(checked, stored)
    return checked


def loss_of(saved: dict[str, Any]) -> str | None:
    """Return the name of the loss that a saved model was compiled with."""
    compiled = saved.get("compile_config")
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    if isinstance(loss, dict):
        config = loss.get("config")
        loss = config.get("name") if isinstance(config, dict) else config
    return loss if isinstance(loss, str) else None


def loss_takes_logits(saved: dict[str, Any]) -> bool:
    """Return whether a saved model was compiled with a loss with `from_logits=True`."""
    compiled = saved.get("compile_config")
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    config = loss.get("config") if isinstance(loss, dict) else None
    return isinstance(config, dict) and config.get("from_logits") is True


def unknown_class(saved: Any) -> str | None:
    """Return the name of a custom class of a model that is registered with Keras, if any."""
    if isinstance(saved, dict):
        registered = saved.get("registered_name")
        if "class_name" in saved and isinstance(registered, str) and saved.get("module") is None:
            return registered[:120]
        saved = list(saved.values())
    found = (unknown_class(each) for each in saved) if isinstance(saved, list) else ()
    return next((name for name in found if name), None)


def _checked(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        if "class_name" in value:
            _check_class(value)
        if value.get("class_name") == "TextVectorization":
            _check_vectorization(value.get("config"))
        return {
            str(name): _checked(str(name), each)
            for name, each in value.items()
            if name not in DROPPED
        }
    if isinstance(value, list):
        return [_checked(key, each) for each in value]
    if isinstance(value, str):
        longest = LONGEST_WORD if key == "vocabulary" else 0
        if len(value) > longest and not PLAIN.fullmatch(value):
            raise WeightsError(f"the setting {key[:80]!r} is {value[:80]!r}, which may name a file")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) > LARGEST.get(key, float("inf")):
            raise WeightsError(
                f"the setting {key!r} is {value:g}; at most {LARGEST[key]} is loaded"
            )
        check_number(key, value)
    return value


def _check_class(saved: dict[str, Any]) -> None:
    name, module = saved["class_name"], saved.get("module")
    if name in VALUES:
        return
    if name in REASONS and name not in LAYERS:
        raise WeightsError(f"holds {REASONS[name]}; {CODE}")
    known = module in MODULES and name in LAYERS | MODELS | PARTS
    operation = isinstance(module, str) and OPERATIONS.fullmatch(module) and str(name).isalnum()
    registered = saved.get("registered_name")
    if not (known or operation) or registered not in {None, name}:
        origin = registered or module or "no module"
        raise WeightsError(
            f"holds a {str(name)[:80]} ({str(origin)[:120]}), which is none of Keras's own layers;"
            f" {OWN}"
        )


def _check_vectorization(config: Any) -> None:
    if not isinstance(config, dict):
        raise WeightsError("holds a TextVectorization without settings")
    for name in READS_FILES:
        value = config.get(name)
        if value is not None and not isinstance(value, list):
            raise WeightsError(f"holds a TextVectorization whose {name} names a file")
    for name in ("standardize", "split"):
        if not isinstance(config.get(name), str | None):
            raise WeightsError(
                f"holds a TextVectorization whose {name} is a function, which no tokenizer.json has"
            )


def _check_tables(checked: dict[str, Any], stored: int) -> None:
    """Refuse tables that are much larger than all stored weights."""
    pending: list[Any] = [checked]
    while pending:
        value = pending.pop()
        pending += value if isinstance(value, list) else []
        if not isinstance(value, dict):
            continue
        pending += value.values()
        config = value.get("config")
        if value.get("class_name") == "Embedding" and isinstance(config, dict):
            rows, columns = config.get("input_dim"), config.get("output_dim")
            if not (isinstance(rows, int) and isinstance(columns, int)):
                raise WeightsError("holds an Embedding without a size")
            if rows * columns > min(MOST_PARAMETERS, 2 * stored + SMALL):
                raise WeightsError(
                    f"an Embedding has {rows} rows of {columns} numbers, and the weights hold"
                    f" {stored} numbers"
                )
