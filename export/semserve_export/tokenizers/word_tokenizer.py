"""The tokenizer of word models: whole words in lower case, and one token for unknown words.

    What's new in Zürich?    what 's new in zürich ? [END]

Text is split like the words of the vocabulary: contractions are separated (`do n't`, `she 's`),
letters, marks and digits stay together, and every other character is a separate word.
"""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

PADDING, UNKNOWN, END = "[PAD]", "[UNK]", "[END]"
SPECIAL = (PADDING, UNKNOWN, END)
"""The first ids. They are not registered as added tokens, so a literal `[END]` is text; and because
words are in lower case and brackets are separate words, no text contains these names."""

LETTERS = r"[\p{L}\p{M}\p{N}]"
WORD = rf"{LETTERS}+(?=n't)|n't|'(?:s|re|ve|ll|m|d)(?!{LETTERS})|{LETTERS}+|\S"


def build_word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """Build the tokenizer of a vocabulary; the id of a word is its index after `SPECIAL`.

    A word that is not in the vocabulary becomes `[UNK]`. Every text ends with `[END]`, so that a
    blank text also has a token.
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
    # Inverted: the parts that the pattern does not match, the blanks, are removed.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=None, special_tokens=[(END, ids[END])]
    )
    return tokenizer
