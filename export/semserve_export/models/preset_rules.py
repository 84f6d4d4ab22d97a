"""What a preset must be so that its bundle answers as the model did in Keras, and what changes."""

import re
from typing import Any

import keras_hub

from semserve_export.errors import FidelityError, WeightsError
from semserve_export.models.preset import Preset
from semserve_export.options import ModelOptions
from semserve_export.tokenizers.parity import Parity
from semserve_export.tokenizers.parity_causes import UNEXPLAINED

SPARE_ROWS = 128  # of an embedding, at most, that no piece has


def length_of(options: ModelOptions, preset: Preset, backbone: Any) -> int:
    """Return the most tokens of a text: as asked for, or what the preset says.

    Raises:
        WeightsError: the model has no positions for as many.
    """
    positions = int(backbone.max_sequence_length)
    if options.max_sequence_length and options.max_sequence_length > positions:
        raise WeightsError(
            f"--max-sequence-length {options.max_sequence_length}: the model has {positions}"
            f" positions; say {positions} at most"
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

    An embedding may have a few rows more than there are pieces, to fill up a round number.

    Args:
        original: KerasHub's tokenizer.
        backbone: of the model.
        named: the preset that --tokenizer named, if any.

    Raises:
        WeightsError: it tells both sizes.
    """
    pieces, rows = original.vocabulary_size(), backbone.vocabulary_size
    if pieces > rows or (named and rows - pieces > max(1, min(SPARE_ROWS, rows // 100))):
        what = f"--tokenizer {named}" if named else "the tokenizer"
        raise WeightsError(f"{what}: has {pieces} pieces, and the model embeds {rows}")


def require_flags_of_tokenizer(options: ModelOptions, original: Any) -> None:
    """Refuse flags of WordPiece for another tokenizer, which they would not change.

    Raises:
        WeightsError: it names the flag.
    """
    flags = {"--strip-accents": options.strip_accents, "--split-on-cjk": options.split_on_cjk}
    given = [flag for flag, value in flags.items() if value is not None]
    if given and not isinstance(original, keras_hub.tokenizers.WordPieceTokenizer):
        raise WeightsError(f"{given[0]} is for WordPiece, and this is a {type(original).__name__}")


def require_explained(parity: Parity) -> None:
    """Refuse a tokenizer that reads texts otherwise than KerasHub's, and nobody knows why.

    Raises:
        FidelityError: it shows the shortest such text.
    """
    if parity.unexplained:
        shortest = next(each.text for each in parity.examples if each.cause == UNEXPLAINED)
        raise FidelityError(
            f"tokenizer.json reads {parity.unexplained} of {parity.texts} texts otherwise than"
            f" KerasHub for no known cause, such as {shortest!a}; `compare-tokenizers` shows all,"
            " and --allow-tokenizer-differences exports it all the same"
        )


def notes_of(preset: Preset) -> tuple[str, ...]:
    """Tell what of the preset is served otherwise than it was saved."""
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
