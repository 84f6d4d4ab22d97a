"""Words that occur between the same two words."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

Around = tuple[str, str]
WORDS = re.compile(r"\w+|[^\w\s]")


class FittingWords:
    """The words that occur between each two words, with their frequencies; in lower case."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._words: dict[Around, list[str]] = defaultdict(list)
        for text in texts:
            words = [word.lower() for word in WORDS.findall(text)]
            for word, around in zip(words, neighbours(words), strict=True):
                if word[0].isalnum():
                    self._words[around].append(word)
        self._counts = {around: Counter(words) for around, words in self._words.items()}

    def others(self, around: Around, word: str) -> int:
        """Return how often other words occur in the same context."""
        if around not in self._counts:
            return 0
        return len(self._words[around]) - self._counts[around][word]

    def other(self, around: Around, word: str, place: int) -> str:
        """Return the other word with that index, counted from 0."""
        others = (other for other in self._words[around] if other != word)
        return next(islice(others, place, None))


def neighbours(words: Sequence[str]) -> Iterator[Around]:
    """Return the words before and after each word; empty at the ends."""
    return zip(("", *words[:-1]), (*words[1:], ""), strict=True)
