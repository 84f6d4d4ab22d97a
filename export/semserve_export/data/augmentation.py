"""Makes new pairs without labels from existing ones, for distillation from teachers.

A small model needs more pairs than people have labelled; a teacher labels the new ones. The new
pairs combine the texts of existing pairs, or change a few words.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from semserve_export.data.augmentation_plan import MixingPlan
from semserve_export.data.context_substitutions import WORDS, FittingWords, neighbours

Pair = tuple[str, str]
Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

WIDER = 4  # the requested number is drawn from this many times as many nearest hypotheses
ROWS = 512  # premises that are compared with all texts in one step
LEFT_OUT_MOST = 8  # words
SHORTEST = 4  # minimum number of words that stay


class Mixer:
    """Makes pairs from the texts of existing pairs.

    Args:
        pairs: the existing pairs.
        plan: the kinds of new pairs and their numbers.
    """

    def __init__(self, pairs: Sequence[Pair], plan: MixingPlan) -> None:
        self._pairs, self._plan = pairs, plan
        self.premises = list(dict.fromkeys(premise for premise, _ in pairs))
        self.hypotheses = list(dict.fromkeys(hypothesis for _, hypothesis in pairs))
        self._random = np.random.default_rng(plan.seed)

    def mix(self, embed: Embed | None) -> list[Pair]:
        """Make the requested kinds of pairs, without duplicates and without existing pairs.

        Args:
            embed: returns the unit vectors of texts, fp32 [texts, dimensions]; without it, no kinds
                that compare meanings are made.
        """
        ways: list[Iterator[Pair]] = []
        if embed:
            premises, hypotheses = embed(self.premises), embed(self.hypotheses)
            ways += [self._near(premises, hypotheses)] if self._plan.near else []
            ways += [self._like(premises)] if self._plan.like else []
        ways += [self._swapped(), self._replaced(), self._shortened()]
        made = dict.fromkeys(pair for way in ways for pair in way)
        old = set(self._pairs)
        return [pair for pair in made if pair not in old and pair[0] != pair[1]]

    def _near(self, premises: Vectors, hypotheses: Vectors) -> Iterator[Pair]:
        """Draw from many near hypotheses; the nearest ones are too similar to each other."""
        wide = min(self._plan.near * WIDER, len(self.hypotheses))
        for place, found in enumerate(nearest(premises, hypotheses, wide)):
            for other in self._random.permutation(found)[: self._plan.near]:
                yield self.premises[place], self.hypotheses[other]

    def _like(self, premises: Vectors) -> Iterator[Pair]:
        """Use the hypotheses of the most similar premises."""
        own = defaultdict(list)
        for premise, hypothesis in self._pairs:
            own[premise].append(hypothesis)
        wide = min(self._plan.like + 1, len(self.premises))
        for place, found in enumerate(nearest(premises, premises, wide)):
            premise = self.premises[place]
            others = [self.premises[other] for other in found if other != place]
            theirs = [hypothesis for other in others for hypothesis in own[other]]
            yield from ((premise, hypothesis) for hypothesis in theirs[: self._plan.like])

    def _swapped(self) -> Iterator[Pair]:
        if self._plan.swapped:
            yield from ((hypothesis, premise) for premise, hypothesis in self._pairs)

    def _replaced(self) -> Iterator[Pair]:
        """Change the hypothesis in three of four cases, otherwise the premise."""
        fitting = FittingWords(self.premises + self.hypotheses)
        for premise, hypothesis in self._pairs:
            for _ in range(self._plan.replaced):
                if self._random.integers(4):
                    changed = self._with_another_word(hypothesis, fitting)
                    yield premise, changed
                else:
                    yield self._with_another_word(premise, fitting), hypothesis

    def _with_another_word(self, text: str, fitting: FittingWords) -> str:
        """Replace one word by a word of the same context, drawn by its frequency there."""
        spans = [match.span() for match in WORDS.finditer(text)]
        words = [text[start:end].lower() for start, end in spans]
        around = list(neighbours(words))
        places = [place for place, word in enumerate(words) if fitting.others(around[place], word)]
        if not places:
            return text
        place = places[self._random.integers(len(places))]
        count = fitting.others(around[place], words[place])
        drawn = int(self._random.integers(count))
        word = fitting.other(around[place], words[place], drawn)
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
