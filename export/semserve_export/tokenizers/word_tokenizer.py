"""The tokenizer of word models: whole words in lower case, and one token for all it does not know.

    What's new in Zürich?    what 's new in zürich ? [END]

Text is split as the vocabulary's own words were: a contraction comes off its word (`do n't`,
`she 's`), letters, marks and digits stay together, and every other character stands alone.
"""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

PADDING, UNKNOWN, END = "[PAD]", "[UNK]", "[END]"
SPECIAL = (PADDING, UNKNOWN, END)
"""The first ids. None is registered as an added token, so that a literal `[END]` stays text; and
since words are in lower case and brackets stand alone, no text can name them."""

LETTERS = r"[\p{L}\p{M}\p{N}]"
WORD = rf"{LETTERS}+(?=n't)|n't|'(?:s|re|ve|ll|m|d)(?!{LETTERS})|{LETTERS}+|\S"


def build_word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """Build the tokenizer of a vocabulary; the id of a word is its place after `SPECIAL`.

    A word that is not in the vocabulary becomes `[UNK]`. Every text ends in `[END]`, so that a
    blank one has a token too.
    """
    ids = {word: place for place, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=True
            ),
            normalizers.Replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"),
        ]
    )
    # Inverted: what the pattern does not match, the blanks, is removed.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=None, special_tokens=[(END, ids[END])]
    )
    return tokenizer
