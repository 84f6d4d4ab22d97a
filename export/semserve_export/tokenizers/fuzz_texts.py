"""Unusual texts on which tokenizers may differ: a fixed list, and any number of random ones."""

import random
from collections.abc import Iterator

from semserve_export.tokenizers.sample_texts import TEXTS
from semserve_export.tokenizers.synthetic_texts import texts_like

WRITTEN = (
    *TEXTS,
    *(" leading", "trailing ", "  two  blanks  ", "\ttab", "line\nline", " \n ", "a \nb", "\r\n"),
    *("<mask>", " <mask>", "a<mask>b", "<s>", "</s>", "<pad>", "<unk>", "[MASK]", "[CLS] [SEP]"),
    *("don't", "DON'T", "we'll we've", "it’s", "rock 'n' roll", "'", "''", "a'sb"),  # noqa: RUF001 - typographic on purpose
    *("ABC", "İstanbul", "ǅ", "ẞ ß", "ΣΊΣΥΦΟΣ", "ᾳ", "ﬃ", "½", "№", "…", "⑴", "Ⅷ", "ｶﾞ"),
    *("e\u0301", "é", "\u0301", "q\u0323\u0307", "T\u0301", "…\u0301", "=\u0338"),
    *("👩‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇭", "👍🏽", "1️⃣", "❤️", "❤"),
    *("한국어", "\u1112\u1161\u11ab", "漢字かな", "𠮷", "ภาษาไทย", "हिन्दी", "עִבְרִית", "العربية"),
    *("\u200b", "\u200d", "\ufeff", "\u00ad", "\u2028", "\u00a0x", "\u3000", "\ue000"),
    *("▁", "a▁b", "६", "ĴA", "##ing", "\x01", "\x7f", "\x85", "\x0b"),
    *("a" * 99, "a" * 101, "é" * 60, "漢" * 120, "1234567890" * 3, "." * 12, "ก" * 40),
)
PLANES = ((0x01, 0x7F), (0x80, 0x24F), (0x250, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0x1FBFF))
BLANKS = " \n\t\r\f\x0b\u00a0\u2003\u2009\u202f\u3000"
SNIPPETS = (
    "s",
    "'s",
    "'T",
    "don't",
    "  ",
    "\n\n",
    "12",
    "...",
    "é",
    "É",
    "ß",
    "漢",
    "🎉",
    "ς",
    "ﬁ",
)
LONGEST = 12  # pieces of a random text


def odd_texts(count: int, seed: int = 5) -> Iterator[str]:
    """Yield `count` texts without NUL: first the fixed list, then random ones, by a seed.

    A third are sentences with unusual blanks around them; the others are mixtures of blanks,
    snippets and characters of all of Unicode.
    """
    drawn = random.Random(seed)  # noqa: S311 - no secret hangs on it
    sentences = [str(text) for text in texts_like(min(count, 1000), seed, pair=False)]
    for place in range(count):
        if place < len(WRITTEN):
            yield WRITTEN[place]
        elif place % 3:
            yield _mixed(drawn)
        else:
            blanks = "".join(drawn.choice(BLANKS) for _ in range(drawn.randint(0, 2)))
            yield drawn.choice(sentences)[: drawn.randint(1, 80)] + blanks


def _mixed(drawn: random.Random) -> str:
    few = [chr(drawn.randint(*drawn.choice(PLANES))) for _ in range(6)]
    pool = drawn.choice((few, [*few, *BLANKS], [*SNIPPETS, *few, " "], [*SNIPPETS, *BLANKS]))
    return "".join(drawn.choice(pool) for _ in range(drawn.randint(1, LONGEST)))
