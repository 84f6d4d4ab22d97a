"""Words that fit between two others."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

Context = tuple[str, str]
WORDS = re.compile(r"\w+|[^\w\s]")


class ContextSubstitutions:
    """Which words stood between the same two words, as often as they did; in lower case."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._words: dict[Context, list[str]] = defaultdict(list)
        for text in texts:
            words = [word.lower() for word in WORDS.findall(text)]
            for word, context in zip(words, neighbours(words), strict=True):
                if word[0].isalnum():
                    self._words[context].append(word)
        self._counts = {context: Counter(words) for context, words in self._words.items()}

    def others(self, context: Context, word: str) -> int:
        """Count how often another word stood there."""
        if context not in self._counts:
            return 0
        return len(self._words[context]) - self._counts[context][word]

    def other(self, context: Context, word: str, place: int) -> str:
        """Return the other word of that place among them, counted from 0."""
        others = (other for other in self._words[context] if other != word)
        return next(islice(others, place, None))


def neighbours(words: Sequence[str]) -> Iterator[Context]:
    """Give the word before and the word after each; nothing at the ends."""
    return zip(("", *words[:-1]), (*words[1:], ""), strict=True)
