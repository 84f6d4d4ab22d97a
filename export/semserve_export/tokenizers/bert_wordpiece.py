"""The one tokenizer: built once from a vocabulary, used in training, in Keras and in the server."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from semserve_export.errors import WeightsError
from semserve_export.model_spec import PairTruncation

Text = str | tuple[str, str]
Inputs = dict[str, npt.NDArray[np.int32]]
RIGHT_INPUTS = ("token_ids_right", "padding_mask_right")
"""Of a model with two inputs of texts: the second text's."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A tokenised text or pair, not padded; both sequences have the same length."""

    token_ids: Sequence[int]
    segment_ids: Sequence[int]
    side: int | None = None  # of a model with an encoder for each side: 0 left, 1 right
    right: Sequence[int] | None = None  # the second text's ids, where it is an input of its own

    def __len__(self) -> int:
        return len(self.token_ids)


def read_vocabulary(path: Path) -> list[str]:
    """Read a vocab.txt, one word-piece a line in the order of ids, or a tokenizer.json's own."""
    if path.suffix == ".json":
        ids = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
        return sorted(ids, key=ids.__getitem__)
    # str.splitlines would also split at separators that are word-pieces themselves.
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def build_tokenizer(
    vocabulary: Sequence[str], *, lowercase: bool, strip_accents: bool
) -> Tokenizer:
    """Build the WordPiece tokenizer of a BERT.

    No added tokens are registered: a literal `[SEP]` in a text then stays text, and can never pass
    for the separator. Truncation and padding are left to those who use the tokenizer.

    Args:
        vocabulary: the word-pieces in the order of their ids.
        lowercase: whether the model is an uncased one.
        strip_accents: whether it was trained on letters without their accents.

    Raises:
        WeightsError: the vocabulary lacks one of the word-pieces that every BERT has.
    """
    ids = {piece: index for index, piece in enumerate(vocabulary)}
    if missing := [piece for piece in ("[UNK]", "[CLS]", "[SEP]", "[PAD]") if piece not in ids]:
        raise WeightsError(f"the vocabulary is no BERT's: it lacks {', '.join(missing)}")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(piece, ids[piece]) for piece in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write tokenizer.json, compact: the server takes at most 16 MiB of it.

    Of a Unigram model of 250,002 pieces, as XLM-RoBERTa's, the indented file has 16.9 MB and the
    compact one 9.

    Raises:
        OSError: it cannot be written; the library's own `save` raises a bare Exception.
    """
    path.write_text(tokenizer.to_str(pretty=False), encoding="utf-8")


def encode(
    tokenizer: Tokenizer,
    texts: Iterable[Text],
    max_length: int,
    *,
    hypothesis_first: bool = False,
    pair_truncation: PairTruncation = "longest_first",
) -> list[Encoding]:
    """Tokenise texts or pairs; what is too long loses its last tokens.

    Args:
        tokenizer: what `build_tokenizer` made, or a copy read back from tokenizer.json.
        texts: strings, or (premise, hypothesis).
        max_length: most tokens of an encoding, `[CLS]` and `[SEP]` included.
        hypothesis_first: whether a pair's hypothesis stands before its premise in the encoding.
        pair_truncation: which text of a pair is cut.
    """
    if hypothesis_first:
        texts = [text if isinstance(text, str) else (text[1], text[0]) for text in texts]
    if pair_truncation != "longest_first":
        return [_cut(tokenizer, text, max_length, pair_truncation) for text in texts]
    tokenizer.enable_truncation(max_length, strategy="longest_first", direction="right")
    try:
        encodings = tokenizer.encode_batch(list(texts))
    finally:
        tokenizer.no_truncation()
    return [Encoding(encoding.ids, encoding.type_ids) for encoding in encodings]


def _cut(tokenizer: Tokenizer, text: Text, most: int, rule: PairTruncation) -> Encoding:
    """Tokenise a text, or a pair that is cut as KerasHub's MultiSegmentPacker cuts it."""
    texts = (text,) if isinstance(text, str) else text
    parts = [tokenizer.encode(each, add_special_tokens=False) for each in texts]
    room = most - tokenizer.num_special_tokens_to_add(is_pair=len(texts) > 1)
    others = sum(map(len, parts[1:]))
    share = room if rule == "waterfall" else (room + 1) // 2
    parts[0].truncate(max(share, room - others))
    for part in parts[1:]:
        part.truncate(room - len(parts[0]))
    whole = tokenizer.post_process(parts[0], parts[1] if len(parts) > 1 else None)
    return Encoding(whole.ids, whole.type_ids)


def encode_separately(
    tokenizer: Tokenizer,
    pairs: Iterable[tuple[str, str]],
    max_length: int,
    *,
    hypothesis_first: bool = False,
) -> list[Encoding]:
    """Tokenise the two texts of each pair, each as a text of its own."""
    pairs = list(pairs)
    order = (1, 0) if hypothesis_first else (0, 1)
    lefts, rights = (
        encode(tokenizer, [pair[side] for pair in pairs], max_length) for side in order
    )
    return [
        Encoding(left.token_ids, left.segment_ids, right=right.token_ids)
        for left, right in zip(lefts, rights, strict=True)
    ]


def pad(encodings: Sequence[Encoding], length: int | None = None) -> Inputs:
    """Stack encodings into the model's inputs, each int32 [len(encodings), length].

    Args:
        encodings: at least one.
        length: columns of the result; the longest encoding's where None. The second text of a
            model with two inputs of texts has as many as it needs, and at least one.

    Returns:
        The inputs by name; where the encodings have them, also `side`, int32 [len(encodings)], and
        the second texts', `RIGHT_INPUTS`.
    """
    columns = length or max(map(len, encodings))
    shape = (len(encodings), columns)
    inputs = {
        name: np.zeros(shape, np.int32) for name in ("token_ids", "segment_ids", "padding_mask")
    }
    for row, encoding in enumerate(encodings):
        used = slice(0, len(encoding))
        inputs["token_ids"][row, used] = encoding.token_ids
        inputs["segment_ids"][row, used] = encoding.segment_ids
        inputs["padding_mask"][row, used] = 1
    sides = [one.side for one in encodings if one.side is not None]
    rights = [one.right for one in encodings if one.right is not None]
    if sides:
        inputs["side"] = np.array(sides, np.int32)
    if rights:
        shape = (len(rights), max(1, *map(len, rights)))
        inputs |= {name: np.zeros(shape, np.int32) for name in RIGHT_INPUTS}
    for row, ids in enumerate(rights):
        inputs[RIGHT_INPUTS[0]][row, : len(ids)] = ids
        inputs[RIGHT_INPUTS[1]][row, : len(ids)] = 1
    return inputs
