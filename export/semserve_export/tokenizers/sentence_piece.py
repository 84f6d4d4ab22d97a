"""Converts a SentencePiece model to tokenizer.json: pieces, scores and the map of characters."""

from collections.abc import Sequence
from typing import Any

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from semserve_export.errors import WeightsError

BLANK = "▁"
USER_DEFINED_BONUS = -0.1
"""A piece that its user defined is preferred to all others: it scores its length times the best
score, and this (`EncodeOptimized` in sentencepiece/src/unigram_model.cc)."""
NAMES = {1: "Unigram", 2: "BPE", 3: "Word", 4: "Char"}
ModelProto: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]  # no stubs
Piece: Any = ModelProto.SentencePiece


def build_sentence_piece(original: Any) -> Tokenizer:
    """Build the tokenizer, without its special tokens, of a KerasHub `SentencePieceTokenizer`.

    The ids are those that `original.token_to_id` gives, which need not be the model's own places.

    Raises:
        WeightsError: tokenizer.json cannot express its kind; the message names it.
    """
    model = ModelProto.FromString(original.proto)
    trained, normalizing = model.trainer_spec, model.normalizer_spec
    if trained.treat_whitespace_as_suffix or not normalizing.escape_whitespaces:
        raise WeightsError("its SentencePiece model marks blanks otherwise than before a word")
    unknown = next(place for place, piece in enumerate(model.pieces) if piece.type == Piece.UNKNOWN)
    ids = _ids(original, len(model.pieces), unknown)
    if trained.model_type == trained.UNIGRAM:
        pieces = _scored(model.pieces)
        # Every id needs an entry, also ids without a piece.
        listed = [(f"{BLANK}{place}{BLANK}", 0.0) for place in range(max(ids) + 1)]
        for place, piece in zip(ids, pieces, strict=True):
            listed[place] = piece
        tokenizer = Tokenizer(
            models.Unigram(listed, unk_id=ids[unknown], byte_fallback=trained.byte_fallback)
        )
    elif trained.model_type == trained.WORD:
        words = {
            piece.piece if piece.type == Piece.NORMAL else _unmatchable(piece.piece): place
            for piece, place in zip(model.pieces, ids, strict=True)
        }
        name = _unmatchable(model.pieces[unknown].piece)
        tokenizer = Tokenizer(models.WordLevel(words, unk_token=name))
    else:
        raise WeightsError(
            f"its SentencePiece model is of the kind {NAMES[trained.model_type]}; Unigram and Word"
            " can be exported"
        )
    tokenizer.normalizer = normalizers.Sequence(_normalizing(normalizing))
    prefix = "always" if normalizing.add_dummy_prefix else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme=prefix)
    tokenizer.decoder = decoders.Metaspace(replacement=BLANK, prepend_scheme=prefix)
    return tokenizer


def _ids(original: Any, pieces: int, unknown: int) -> list[int]:
    """Return the id of each piece: its index, unless the tokenizer shifts it, as in XLM-RoBERTa."""
    offset = original.vocabulary_size() - pieces
    moved = hasattr(original, "_vocabulary_prefix")
    if not moved or not offset:
        return list(range(pieces))
    ids = [place + 1 for place in range(pieces)]
    ids[unknown] = original.unk_token_id
    for place, name in ((1, "start_token_id"), (2, "end_token_id")):
        ids[place] = getattr(original, name)
    return ids


def _scored(pieces: Sequence[Any]) -> list[tuple[str, float]]:
    """Return the score of each piece; special pieces, such as [CLS], get names that no text has."""
    best = max((piece.score for piece in pieces if piece.type == Piece.NORMAL), default=0.0)
    scored = []
    for piece in pieces:
        name, score = piece.piece, piece.score
        if piece.type == Piece.USER_DEFINED:
            score = len(name) * best + USER_DEFINED_BONUS
        elif piece.type not in {Piece.NORMAL, Piece.BYTE}:
            name, score = _unmatchable(name), 0.0
        scored.append((name, score))
    return scored


def _unmatchable(piece: str) -> str:
    """Return a name that no text has: texts are split before every blank, so none ends with one."""
    return piece + BLANK


def _normalizing(spec: Any) -> list[Any]:
    """Return the normalisation steps: the model's map, the steps that it implies, and the blanks.

    `Precompiled` drops the rest of a letter that it maps, such as a following accent. Therefore the
    general steps that the map contains come first, so that it maps few characters.
    """
    steps: list[Any] = [normalizers.Replace(BLANK, " ")]
    if spec.precompiled_charsmap:
        mapped = normalizers.Precompiled(spec.precompiled_charsmap)
        if mapped.normalize_str("½ﬁ") == normalizers.NFKC().normalize_str("½ﬁ"):
            steps.append(normalizers.NFKC())
        if mapped.normalize_str("T") == "t":
            steps.append(normalizers.Lowercase())
        steps.append(mapped)
    if spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
        steps.append(normalizers.Replace(Regex(r"\A | \z"), ""))
    return steps
