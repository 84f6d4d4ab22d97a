"""Determines the sequences of a model's training: from the model, its tokenizer and the options."""

from dataclasses import replace

import keras

from semserve_export.errors import WeightsError
from semserve_export.keras_models.id_model import IdModel
from semserve_export.keras_models.sequences.padding_probes import depends_on_side, ignores_padding
from semserve_export.keras_models.sequences.sequence_format import FREE_LENGTH, SequenceFormat
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.model_spec import Padding
from semserve_export.models.keras_internals import sublayers
from semserve_export.options import ModelOptions


def find_sequences(
    options: ModelOptions, model: IdModel, tokens: TokenSource, ids: int
) -> SequenceFormat:
    """Determine the sequences of a model's training.

    Args:
        options: the options of the export.
        model: the model.
        tokens: the source of its ids.
        ids: number of ids.

    Raises:
        WeightsError: they cannot be determined, or the options contradict the model.
    """
    _require_known_steps(model)
    length = _fixed_length(options, model, tokens)
    _require_agreement(options, tokens)
    _require_room(options, model, length)
    truncating = options.truncating or tokens.truncating or ("pre" if length else "post")
    limit = length or options.max_sequence_length or model.positions
    any_length = model.length is None and ignores_padding(model, ids, tokens.pad_id, limit)
    if length is None:
        _require_no_padding(options, truncating, any_length=any_length)
    max_tokens = options.max_sequence_length or length or tokens.most or FREE_LENGTH
    max_tokens = min(max_tokens, model.positions or max_tokens)
    padding = options.padding or tokens.padding
    sequences = SequenceFormat(length, padding or "post", truncating, tokens.pad_id, max_tokens)
    # A model with a mask input was trained with padding at the end.
    sided = padding != "post" and not model.names and depends_on_side(model, ids, sequences)
    if sided:
        _require_known_side(padding, length)
    if any_length and truncating == "post" and not sided:
        return replace(sequences, length=None, padding="post")
    return sequences


def _require_known_steps(model: IdModel) -> None:
    """Refuse a `TimeDistributed` over sequences of any length.

    Keras 3.15 applies its layer to only as many steps as the batch has texts.
    """
    for layer in sublayers(model.model) if model.length is None else ():
        if isinstance(layer, keras.layers.TimeDistributed):
            raise WeightsError(
                f"the layer {layer.name} is a TimeDistributed over sequences of any length, of"
                " which Keras computes only as many steps as the batch has texts; give the model's"
                " input a length, or use the layer inside it alone: Dense acts on each step anyway"
            )


def _fixed_length(options: ModelOptions, model: IdModel, tokens: TokenSource) -> int | None:
    """Return the length of every sequence, if the model, its tokenizer or the options have one."""
    length = model.length
    stated = (("the tokenizer", tokens.length), ("padded_length", options.padded_length))
    for name, other in stated:
        if length is not None and other is not None and other != length:
            raise WeightsError(f"{name}: sequences of {other} tokens, and the model takes {length}")
        length = other if length is None else length
    return length


def _require_agreement(options: ModelOptions, tokens: TokenSource) -> None:
    """Refuse options that contradict the settings of the tokenizer."""
    for name in ("padding", "truncating"):
        stated, known = getattr(options, name), getattr(tokens, name)
        if stated and known and stated != known:
            raise WeightsError(f"{name}: {tokens.title} has {known!r}, and {stated!r} is asked for")


def _require_room(options: ModelOptions, model: IdModel, length: int | None) -> None:
    """Refuse more tokens than the model's sequences or positions have."""
    max_tokens, positions = options.max_sequence_length or 0, model.positions
    if length is not None and max_tokens > length:
        raise WeightsError(f"max_length: the model takes sequences of {length} tokens")
    if positions is not None and max(max_tokens, length or 0) > positions:
        name = "max_length" if max_tokens > positions else "padded_length"
        raise WeightsError(f"{name}: the model has vectors for {positions} positions")


def _require_no_padding(options: ModelOptions, truncating: Padding, *, any_length: bool) -> None:
    """Refuse a model without a fixed length that needs one."""
    if not any_length:
        raise WeightsError(
            "padded_length: the model's answers depend on how many zeros follow a text; pass the"
            " length that its sequences were padded to (--padded-length), and the side"
            " (--padding pre or post)"
        )
    if options.padding:
        raise WeightsError(
            "padded_length: padding says that the sequences were padded, and nothing says to which"
            " length; pass it (--padded-length), or leave padding out where texts were never cut"
        )
    if truncating == "pre":
        raise WeightsError("truncating: pre needs the length that texts are cut to: padded_length")


def _require_known_side(padding: Padding | None, length: int | None) -> None:
    """Refuse a model whose answers depend on the side of padding, if nothing says enough of it."""
    if padding is None:
        raise WeightsError(
            "padding: the model answers otherwise for a text with padding before it than after it;"
            " pass the side of the training (--padding pre or post; pre is pad_sequences' default)"
        )
    if length is None:
        raise WeightsError(
            "padded_length: the model's answers depend on how many zeros come before a text; pass"
            " the length that its sequences were padded to (--padded-length)"
        )
