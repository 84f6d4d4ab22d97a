"""Converts TensorFlow Text's `BertTokenizer`, which TF Hub uses, to tokenizer.json.

For an uncased model it applies NFKC_Casefold to the whole text and removes accents. Then control
characters become blanks, and the text is split at blanks, punctuation and Chinese characters
(`BasicTokenizer` in tensorflow_text/python/ops/bert_tokenizer.py).
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from semserve_export.errors import WeightsError
from semserve_export.tokenizers.fuzz_texts import odd_texts
from semserve_export.tokenizers.word_piece import CASE_FOLDING

SPECIAL = ("[UNK]", "[CLS]", "[SEP]", "[PAD]")
MAX_WORD = 100  # characters here, bytes in TensorFlow Text
BLANKS = r"[ \t\n\f\r]+"
SIGNS = (
    r"[!-/:-@\[-`{-~]|\p{P}|[\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2b73f}"
    r"\x{2b740}-\x{2b81f}\x{2b820}-\x{2ceaf}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]"
)
"""Characters that are separate words: ASCII signs, punctuation, and Chinese characters."""
IGNORED = (
    r"[\x{ad}\x{61c}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{feff}\x{1bca0}-\x{1bca3}"
    r"\x{1d173}-\x{1d17a}]"
)
"""Control characters that NFKC_Casefold removes (Default_Ignorable_Code_Point)."""
COMPARED_TEXTS = 1500


def build_tf_text_bert(vocabulary: Sequence[str], *, lowercase: bool) -> Tokenizer:
    """Build the tokenizer.

    Args:
        vocabulary: the word-pieces in the order of their ids.
        lowercase: whether the model is uncased, which also removes accents.

    Raises:
        WeightsError: the vocabulary lacks a special token of BERT.
    """
    ids = {piece: place for place, piece in enumerate(vocabulary)}
    if missing := [piece for piece in SPECIAL if piece not in ids]:
        raise WeightsError(f"the vocabulary is no BERT's: it lacks {', '.join(missing)}")
    tokenizer = Tokenizer(
        models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD)  # noqa: S106
    )
    steps: list[Any] = []
    if lowercase:
        steps += [normalizers.Replace(Regex(IGNORED), ""), *CASE_FOLDING]
        steps += [normalizers.NFD(), normalizers.Replace(Regex(r"\p{Mn}"), "")]
    steps.append(normalizers.Replace(Regex(r"[\p{Cc}\p{Cf}]"), " "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(BLANKS), "removed"),
            pre_tokenizers.Split(Regex(SIGNS), "isolated"),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(piece, ids[piece]) for piece in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def differing_texts(
    tokenizer: Tokenizer, vocabulary: Sequence[str], *, lowercase: bool
) -> list[str]:
    """Return the unusual texts for which TensorFlow Text gives other ids.

    Words of over 100 bytes are excluded: TensorFlow Text counts bytes, tokenizers counts
    characters.
    """
    import tensorflow_text  # noqa: PLC0415 - there is none for Windows

    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(
            list(vocabulary), list(range(len(vocabulary))), tf.string, tf.int64
        ),
        1,
    )
    original = tensorflow_text.BertTokenizer(table, lower_case=lowercase, token_out_type=tf.int64)
    texts = [
        text
        for text in odd_texts(COMPARED_TEXTS)
        if all(len(word.encode()) <= MAX_WORD for word in text.split())
    ]
    expected = original.tokenize(tf.constant(texts)).merge_dims(1, 2).to_list()
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [
        text
        for text, one, other in zip(texts, expected, found, strict=True)
        if one != list(other.ids)
    ]
