"""Checks that a preset's bundle answers as the model in Keras, and notes about differences."""

import re
from typing import Any

import keras_hub

from semserve_export.errors import FidelityError, WeightsError
from semserve_export.models.preset import Preset
from semserve_export.options import ModelOptions
from semserve_export.tokenizers.parity import Parity
from semserve_export.tokenizers.parity_causes import UNEXPLAINED

SPARE_ROWS = 128  # largest number of rows of an embedding without a piece


def length_of(options: ModelOptions, preset: Preset, backbone: Any) -> int:
    """Return the maximum number of tokens: from the options, or from the preset.

    Raises:
        WeightsError: the model has fewer positions.
    """
    positions = int(backbone.max_sequence_length)
    if options.max_sequence_length and options.max_sequence_length > positions:
        raise WeightsError(
            f"--max-sequence-length {options.max_sequence_length}: the model has {positions}"
            f" positions; pass at most {positions}"
        )
    return options.max_sequence_length or preset.max_sequence_length(backbone)


def require_segments(backbone: Any, *, pair: bool) -> None:
    """Refuse a model of pairs that has no vector for the second text's segment.

    Raises:
        WeightsError: its backbone has one segment.
    """
    if pair and getattr(backbone, "num_segments", 2) < 2:  # noqa: PLR2004 - a pair
        raise WeightsError(
            "--pair: the backbone has num_segments=1, and the second text of a pair is of another"
            " segment"
        )


def require_vocabulary(original: Any, backbone: Any, named: str | None) -> None:
    """Refuse a tokenizer of another vocabulary than the model's.

    An embedding may have a few more rows than there are pieces, up to a round number.

    Args:
        original: KerasHub's tokenizer.
        backbone: the backbone of the model.
        named: the preset of --tokenizer, if any.

    Raises:
        WeightsError: the message contains both sizes.
    """
    pieces, rows = original.vocabulary_size(), backbone.vocabulary_size
    if pieces > rows or (named and rows - pieces > max(1, min(SPARE_ROWS, rows // 100))):
        what = f"--tokenizer {named}" if named else "the tokenizer"
        raise WeightsError(f"{what}: has {pieces} pieces, and the model embeds {rows}")


def require_flags_of_tokenizer(options: ModelOptions, original: Any) -> None:
    """Refuse flags of WordPiece for another tokenizer, on which they have no effect.

    Raises:
        WeightsError: the message names the flag.
    """
    flags = {"--strip-accents": options.strip_accents, "--split-on-cjk": options.split_on_cjk}
    given = [flag for flag, value in flags.items() if value is not None]
    if given and not isinstance(original, keras_hub.tokenizers.WordPieceTokenizer):
        raise WeightsError(f"{given[0]} is for WordPiece, and this is a {type(original).__name__}")


def require_explained(parity: Parity) -> None:
    """Refuse a tokenizer that differs from KerasHub's without a known cause.

    Raises:
        FidelityError: the message contains the shortest such text.
    """
    if parity.unexplained:
        shortest = next(each.text for each in parity.examples if each.cause == UNEXPLAINED)
        raise FidelityError(
            f"tokenizer.json reads {parity.unexplained} of {parity.texts} texts otherwise than"
            f" KerasHub for no known cause, such as {shortest!a}; `compare-tokenizers` shows all,"
            " and --allow-tokenizer-differences exports it all the same"
        )


def notes_of(preset: Preset) -> tuple[str, ...]:
    """Return notes about the differences of the served model from the saved preset."""
    saved = preset.config.get("torch_dtype") or preset.config.get("dtype")
    saved = saved or preset.config.get("config", {}).get("dtype", "")
    name = saved if isinstance(saved, str) else str(saved.get("config", {}).get("name", ""))
    if not re.search("float16", name):
        return ()
    return (
        (
            f"The model was saved as {name} and is exported in float32: Keras in {name} rounds its"
            " answers, by up to 7e-3 in our measurements."
        ),
    )
