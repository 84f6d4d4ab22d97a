"""Converts KerasHub's byte-level BPE (GPT-2, RoBERTa) to tokenizer.json.

KerasHub's graph splits with RE2, which has no lookahead, and therefore differs at runs of blanks
(`split_strings_for_bpe` in keras_hub/src/tokenizers/byte_pair_tokenizer.py). The pattern here gives
the same words; the pattern of GPT-2 differs for one of four unusual texts.
"""

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from semserve_export.errors import WeightsError

BLANKS = r" \n\t\r\f\x{a0}\x{2009}\x{202f}\x{3000}"
"""RE2's \\s, and the blanks that KerasHub adds to it; all others are signs to it."""
LAST = r"\t\r\f\x{a0}\x{2009}\x{202f}\x{3000}"
"""Blanks at the end of a run of blanks that become a separate word."""
WORD = rf"[{BLANKS}\p{{L}}\p{{N}}]"
KERAS_HUB_WORDS = "|".join(
    (
        "'s|'t|'re|'ve|'m|'ll|'d",
        rf"[{BLANKS}]+(?= [^{BLANKS}])",  # a run before a word, without the word's own space
        rf"[{BLANKS}]+\n(?= *\z|[^{BLANKS}])",
        rf"[{BLANKS}]+(?=[{LAST}](?: *\z|[^{BLANKS}]))",
        rf"(?<=[{BLANKS}])[{LAST}]",
        rf"[{BLANKS}]+(?= \z)",
        r" ?\p{L}+",
        r" ?\p{N}+",
        rf" (?=\x{{b}}(?:{WORD}|\z))",  # a vertical tab is also split from the end of signs
        rf" ?[^{BLANKS}\p{{L}}\p{{N}}]+(?=\x{{b}}(?:{WORD}|\z))",
        rf" ?[^{BLANKS}\p{{L}}\p{{N}}]+",
    )
)
UNKNOWN = "<unk>"


def build_byte_pair(original: Any) -> Tokenizer:
    """Build the tokenizer, without its special tokens, of a KerasHub `BytePairTokenizer`.

    Args:
        original: with its vocabulary and merges.

    Raises:
        WeightsError: a byte has no piece, so that texts would lose it silently.
    """
    vocabulary = dict(original.vocabulary)
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - vocabulary.keys()
    if missing and UNKNOWN not in vocabulary:
        raise WeightsError(
            f"the vocabulary lacks {len(missing)} of the 256 bytes and has no {UNKNOWN}: texts"
            " with these bytes have no token ids, in KerasHub neither; train the BPE with"
            " ByteLevel.alphabet() as its initial alphabet"
        )
    merges = [tuple(merge.split(" ")) for merge in original.merges if "#version:" not in merge]
    # None if every byte has a piece, so that no token is unknown.
    unknown = UNKNOWN if missing else None
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown))
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=original.add_prefix_space, use_regex=False)
    words = pre_tokenizers.Split(Regex(KERAS_HUB_WORDS), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_of])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
