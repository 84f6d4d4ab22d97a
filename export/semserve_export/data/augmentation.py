"""Makes new pairs without labels from existing ones, for distillation from teachers.

A small model needs more pairs than people have labelled; a teacher labels the new ones. The new
pairs combine the texts of existing pairs, or change a few words.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from semserve_export.data.augmentation_plan import AugmentationPlan

Pair = tuple[str, str]
Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

WIDER = 4  # the requested number is drawn from this many times as many nearest hypotheses
ROWS = 512  # premises that are compared with all texts in one step
LEFT_OUT_MOST = 8  # words
SHORTEST = 4  # minimum number of words that stay
Context = tuple[str, str]
WORDS = re.compile(r"\w+|[^\w\s]")


class Augmenter:
    """Makes pairs from the texts of existing pairs.

    Args:
        pairs: the existing pairs.
        plan: the kinds of new pairs and their numbers.
    """

    def __init__(self, pairs: Sequence[Pair], plan: AugmentationPlan) -> None:
        self._pairs, self._plan = pairs, plan
        self.premises = list(dict.fromkeys(premise for premise, _ in pairs))
        self.hypotheses = list(dict.fromkeys(hypothesis for _, hypothesis in pairs))
        self._random = np.random.default_rng(plan.seed)

    def make(self, embed: Embed | None) -> list[Pair]:
        """Make the requested kinds of pairs, without duplicates and without existing pairs.

        Args:
            embed: returns the unit vectors of texts, fp32 [texts, dimensions]; without it, no kinds
                that compare meanings are made.
        """
        kinds: list[Iterator[Pair]] = []
        if embed:
            premises, hypotheses = embed(self.premises), embed(self.hypotheses)
            kinds += [self._nearest_hypotheses(premises, hypotheses)] if self._plan.near else []
            kinds += [self._hypotheses_of_similar(premises)] if self._plan.like else []
        kinds += [self._swapped(), self._replaced(), self._shortened()]
        made = dict.fromkeys(pair for kind in kinds for pair in kind)
        old = set(self._pairs)
        return [pair for pair in made if pair not in old and pair[0] != pair[1]]

    def _nearest_hypotheses(self, premises: Vectors, hypotheses: Vectors) -> Iterator[Pair]:
        """Draw from many near hypotheses; the nearest ones are too similar to each other."""
        wide = min(self._plan.near * WIDER, len(self.hypotheses))
        for place, found in enumerate(nearest(premises, hypotheses, wide)):
            for other in self._random.permutation(found)[: self._plan.near]:
                yield self.premises[place], self.hypotheses[other]

    def _hypotheses_of_similar(self, premises: Vectors) -> Iterator[Pair]:
        """Use the hypotheses of the most similar premises."""
        by_premise = defaultdict(list)
        for premise, hypothesis in self._pairs:
            by_premise[premise].append(hypothesis)
        wide = min(self._plan.like + 1, len(self.premises))
        for place, found in enumerate(nearest(premises, premises, wide)):
            premise = self.premises[place]
            others = [self.premises[other] for other in found if other != place]
            hypotheses = [hypothesis for other in others for hypothesis in by_premise[other]]
            yield from ((premise, hypothesis) for hypothesis in hypotheses[: self._plan.like])

    def _swapped(self) -> Iterator[Pair]:
        if self._plan.swapped:
            yield from ((hypothesis, premise) for premise, hypothesis in self._pairs)

    def _replaced(self) -> Iterator[Pair]:
        """Change the hypothesis in three of four cases, otherwise the premise."""
        substitutions = ContextSubstitutions(self.premises + self.hypotheses)
        for premise, hypothesis in self._pairs:
            for _ in range(self._plan.replaced):
                if self._random.integers(4):
                    changed = self._with_substitution(hypothesis, substitutions)
                    yield premise, changed
                else:
                    yield self._with_substitution(premise, substitutions), hypothesis

    def _with_substitution(self, text: str, substitutions: "ContextSubstitutions") -> str:
        """Replace one word by a word of the same context, drawn by its frequency there."""
        spans = [match.span() for match in WORDS.finditer(text)]
        words = [text[start:end].lower() for start, end in spans]
        contexts = list(neighbours(words))
        places = [
            place for place, word in enumerate(words) if substitutions.others(contexts[place], word)
        ]
        if not places:
            return text
        place = places[self._random.integers(len(places))]
        count = substitutions.others(contexts[place], words[place])
        drawn = int(self._random.integers(count))
        word = substitutions.other(contexts[place], words[place], drawn)
        start, end = spans[place]
        if text[start].isupper():
            word = word[0].upper() + word[1:]
        return text[:start] + word + text[end:]

    def _shortened(self) -> Iterator[Pair]:
        for premise in self.premises:
            words = premise.split()
            for _ in range(self._plan.shortened if len(words) > SHORTEST else 0):
                most = min(LEFT_OUT_MOST, len(words) - SHORTEST)
                count = int(self._random.integers(1, most + 1))
                start = int(self._random.integers(len(words) - count + 1))
                yield premise, " ".join(words[:start] + words[start + count :])


def nearest(rows: Vectors, others: Vectors, count: int) -> Iterator[npt.NDArray[np.int64]]:
    """Return for each row the `count` other rows with the largest products, best first."""
    for start in range(0, len(rows), ROWS):
        products = rows[start : start + ROWS] @ others.T
        for row in products:
            found = np.argpartition(row, len(row) - count)[len(row) - count :]
            yield found[np.argsort(-row[found], kind="stable")]


class ContextSubstitutions:
    """The words that occur between each two words, with their frequencies; in lower case."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._words: dict[Context, list[str]] = defaultdict(list)
        for text in texts:
            words = [word.lower() for word in WORDS.findall(text)]
            for word, context in zip(words, neighbours(words), strict=True):
                if word[0].isalnum():
                    self._words[context].append(word)
        self._counts = {context: Counter(words) for context, words in self._words.items()}

    def others(self, context: Context, word: str) -> int:
        """Return how often other words occur in the same context."""
        if context not in self._counts:
            return 0
        return len(self._words[context]) - self._counts[context][word]

    def other(self, context: Context, word: str, place: int) -> str:
        """Return the other word with that index, counted from 0."""
        others = (other for other in self._words[context] if other != word)
        return next(islice(others, place, None))


def neighbours(words: Sequence[str]) -> Iterator[Context]:
    """Return the words before and after each word; empty at the ends."""
    return zip(("", *words[:-1]), (*words[1:], ""), strict=True)
