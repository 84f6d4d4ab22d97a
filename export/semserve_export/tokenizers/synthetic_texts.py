"""Generates random English sentences from a small grammar, reproducibly by a seed.

They are used to measure activation ranges and quantised graphs. They are generated, so the package
can contain them. There are statements, questions, headlines and figures, long and short.
"""

# ruff: noqa: SIM905 - words are more readable as text than as a list of strings

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from semserve_export.tokenizers.bert_wordpiece import Text

PEOPLE = """
    man woman child girl boy teacher doctor farmer nurse lawyer driver singer painter soldier
    student professor engineer minister neighbour tourist sailor chef carpenter goalkeeper
    scientist journalist librarian widow plumber president
""".split()
ANIMALS = "dog cat horse bird cow fish wolf bear mouse elephant bee snake rabbit goose".split()
THINGS = """
    guitar bridge newspaper bicycle computer violin bottle letter window kettle ladder camera
    bicycle telescope suitcase loaf tractor umbrella engine contract vaccine river satellite
    statue password mountain necklace theorem election invoice sandwich battery
""".split()
PLACES = """
    kitchen park harbour hospital library market station theatre village desert laboratory
    courtroom airport cathedral garage classroom stadium forest bakery parliament museum prison
""".split()
ADJECTIVES = """
    old young red broken quiet enormous famous hungry wooden expensive green tired foreign
    cheerful dangerous empty electric golden dirty clever
""".split()
SUBJECTS = """
    inflation photosynthesis chess tuberculosis democracy jazz grammar gravity marriage football
    poetry unemployment cryptography gardening diabetes astronomy copyright insurance
""".split()
CITIES = "Lisbon Cairo Toronto Osaka Nairobi Vienna Lima Chicago Dublin Mumbai Kyiv Sydney".split()
NAMES = "Anna Omar Lucy Henry Maria David Fatima George Elena Victor Chen Ingrid".split()
DOING = """
    repairing carrying painting selling hiding washing describing photographing stealing cleaning
    lifting dropping buying borrowing examining admiring
""".split()
MOVING = "running walking sleeping dancing waiting singing smiling falling swimming arguing".split()
DID = "refused promised decided hoped agreed failed managed offered forgot threatened".split()
VERBS = "sell repair remember explain destroy translate finance count protect deliver".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


@dataclass(frozen=True, slots=True)
class Words:
    """Draws random words and phrases."""

    random: np.random.Generator

    def one(self, words: list[str]) -> str:
        """Draw one of the words."""
        return words[int(self.random.integers(len(words)))]

    def number(self) -> int:
        """Draw a number; each number of digits from one to four is equally likely."""
        return int(10 ** self.random.uniform(0, 4))

    def who(self) -> str:
        """Draw a person: "the tired sailor"."""
        kind = self.one(["a", "the", "another", "every"])
        described = f"{self.one(ADJECTIVES)} " if self.random.integers(2) else ""
        return f"{kind} {described}{self.one(PEOPLE + ANIMALS)}"

    def what(self) -> str:
        """Draw a thing: "a wooden bridge"."""
        return f"{self.one(['a', 'the', 'this', 'his'])} {self.one(ADJECTIVES)} {self.one(THINGS)}"

    def where(self) -> str:
        """Draw a place: "near the harbour"."""
        return f"{self.one(['in', 'near', 'behind', 'outside'])} the {self.one(PLACES)}"


KINDS: tuple[Callable[[Words], str], ...] = (
    lambda w: f"{w.who()} is {w.one(DOING)} {w.what()} {w.where()}.",
    lambda w: f"{w.who()} is {w.one(MOVING)} {w.where()}.",
    lambda w: (
        f"{w.one(NAMES)} {w.one(DID)} to {w.one(VERBS)} {w.what()} on {w.one(DAYS)}, although"
        f" {w.who()} had already paid ${w.number()},{w.number() % 1000:03d} for it."
    ),
    lambda w: (
        f"{w.one(CITIES)} {w.one(PEOPLE)}s vote to {w.one(VERBS)} {w.one(PLACES)}:"
        f" {w.one(SUBJECTS)} up {w.number() / 10}% since {1900 + w.number() % 125}"
    ),
    lambda w: f"How do I {w.one(VERBS)} {w.what()} in {w.one(CITIES)}?",
    lambda w: f"Why is {w.one(SUBJECTS)} more {w.one(ADJECTIVES)} than {w.one(SUBJECTS)}?",
    lambda w: (
        f"Which {w.one(PEOPLE)} should {w.one(VERBS)} the {w.one(THINGS)} and who is to blame?"
    ),
    lambda w: f"Nobody is {w.one(MOVING)} {w.where()}, and there is no {w.one(THINGS)} at all.",
    lambda w: " ".join(w.one([*THINGS, *SUBJECTS, *CITIES, *ADJECTIVES]) for _ in range(3)),
)
PARAGRAPHS = 16  # every sixteenth text


def texts_like(count: int, seed: int, *, pair: bool) -> list[Text]:
    """Return `count` texts or pairs; half of the pairs are about the same sentence."""
    words = Words(np.random.default_rng(seed))
    texts = [_text(words, place) for place in range(count)]
    if not pair:
        return list(texts)
    others = [_text(words, place + 1) for place in range(count)]
    return [
        (text, other if place % 2 else text.lower().replace(" is ", " is not "))
        for place, (text, other) in enumerate(zip(texts, others, strict=True))
    ]


def _text(words: Words, place: int) -> str:
    if place % PARAGRAPHS == PARAGRAPHS - 1:
        return " ".join(_text(words, int(words.random.integers(9))) for _ in range(5))
    text = KINDS[place % len(KINDS)](words)
    return text[0].upper() + text[1:]
