"""The module of sentence-transformers that pools the logits of a masked language model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from semserve_export.errors import WeightsError
from semserve_export.files.model_files import read_object

KIND = "SpladePooling"
WIDTHS = ("embedding_dimension", "word_embedding_dimension")
"""The keys of the size of the vocabulary in new and old releases."""


@dataclass(frozen=True, slots=True)
class SpladePooling:
    """The function from logits to weights, with its defaults."""

    strategy: Literal["max", "sum"] = "max"
    logarithms: Literal[1, 2] = 1
    """How often log(1 + x) is applied to a logit above 0: twice for `log1p_relu`."""
    width: int | None = None  # the size of the vocabulary, if it is specified


def read_splade(directory: Path) -> SpladePooling:
    """Read the module's configuration.

    Raises:
        WeightsError: a key is unknown; the message names it.
    """
    config = read_object(directory / "config.json")
    place = f"{directory.name}/config.json"
    if not config:
        raise WeightsError(f"{place}: is missing")
    known = {"pooling_strategy", "activation_function", "chunk_size", *WIDTHS}
    for key, value in config.items():
        if key not in known and value not in (None, False):
            raise WeightsError(f"{place}: {key} {value!r} is not known")
    strategy: Any = _one_of(config, "pooling_strategy", ("max", "sum"), place)
    function = _one_of(config, "activation_function", ("relu", "log1p_relu"), place)
    width = next((config[key] for key in WIDTHS if config.get(key) is not None), None)
    return SpladePooling(strategy, 2 if function == "log1p_relu" else 1, width)


def _one_of(config: dict[str, Any], key: str, known: tuple[str, str], place: str) -> str:
    """Return a setting; the first known value is the default."""
    value = config.get(key, known[0])
    if value not in known:
        raise WeightsError(f"{place}: {key} {value!r} is not known: {', '.join(known)}")
    return str(value)
