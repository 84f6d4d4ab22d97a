"""Limits of the size of a saved model, which are checked before memory is allocated."""

from typing import Any

from semserve_export.errors import WeightsError

LARGEST = {
    "vocabulary_size": 4_000_000,  # XLM-RoBERTa's has 250,002 tokens
    "num_layers": 200,
    "num_heads": 512,
    "num_groups": 200,
    "num_inner_repetitions": 200,
    "num_segments": 1000,
    "hidden_dim": 32_768,
    "intermediate_dim": 262_144,
    "embedding_dim": 32_768,
    "max_sequence_length": 131_072,
    "sequence_length": 131_072,
    "bucket_size": 131_072,
    "num_classes": 100_000,
    "mask_selection_length": 131_072,
}
"""Limits of the settings of a model; all models of the families are far below."""
LARGEST_NUMBER = 1_000_000_000  # for every other setting
SMALL = 10_000_000  # parameters; tolerance of the estimate: 40 MB
MOST_PARAMETERS = 8_000_000_000  # DeBERTa and XLM-RoBERTa have 0.6e9 at most


def check_number(key: str, value: float) -> None:
    """Refuse a number that is too large for any model.

    Raises:
        WeightsError: the number exceeds the limit of the setting.
    """
    largest = LARGEST.get(key, LARGEST_NUMBER)
    if abs(value) > largest:
        raise WeightsError(f"the setting {key[:80]!r} is {value:g}; at most {largest} is loaded")


def check_size(name: str, settings: dict[str, Any]) -> None:
    """Refuse a backbone whose settings give too many parameters.

    Args:
        name: the class.
        settings: its settings.

    Raises:
        WeightsError: there would be more than `MOST_PARAMETERS`.
    """
    if not name.endswith("Backbone"):
        return
    parameters = parameters_of(name, settings)
    if parameters > MOST_PARAMETERS:
        raise WeightsError(
            f"a {name} of these settings has {parameters:.0e} parameters; at most"
            f" {MOST_PARAMETERS:.0e} are loaded"
        )


def check_stored(model: dict[str, Any], stored: int) -> None:
    """Refuse a model with many more parameters than stored weights.

    Args:
        model: a checked classifier, embedder or backbone.
        stored: number of values of its weights.

    Raises:
        WeightsError: its backbone would have more than twice as many, and `SMALL` more.
    """
    backbone = model["config"].get("backbone", model)
    name, settings = backbone["class_name"], backbone["config"]
    if not name.endswith("Backbone"):
        return
    parameters = parameters_of(name, settings)
    if parameters > 2 * stored + SMALL:
        raise WeightsError(
            f"a {name} of these settings has {parameters:.0e} parameters, and the weights hold"
            f" {stored:.0e} numbers"
        )


def parameters_of(name: str, settings: dict[str, Any]) -> int:
    """Count the parameters of a backbone's matrices: tables, and layers unless they are shared."""

    def size(key: str) -> int:
        value = settings.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int):
            raise WeightsError(f"the setting {key!r} of a {name} is no whole number")
        return value

    hidden, inner = size("hidden_dim"), size("intermediate_dim")
    table = size("vocabulary_size") * (size("embedding_dim") or hidden)
    layers = size("num_groups") * size("num_inner_repetitions") or size("num_layers")
    positions = size("bucket_size") or size("max_sequence_length")
    return table + hidden * (positions + layers * (4 * hidden + 2 * inner))
