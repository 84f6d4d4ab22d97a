"""Decides the fate of each request from how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from grpc import StatusCode

from chaos.questions import Question
from chaos.tally import Fate, Tally

Reasons = frozenset[StatusCode]
"""Statuses that a caller's own behaviour brings about."""
NO_REASON: Reasons = frozenset()
LEFT: Reasons = frozenset({StatusCode.CANCELLED, StatusCode.UNAVAILABLE})
LATE: Reasons = frozenset({StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED})
TOLD_BAD: Reasons = frozenset({StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Judge:
    """Writes fates into a tally."""

    tally: Tally = field(default_factory=Tally)

    def answer(self, question: Question, content: bytes) -> None:
        """Judge an answer."""
        fate = Fate.WRONG if question.judge is None else question.judge(content)
        self.tally.add(fate, f"{question} gave {content!r}")

    def status(
        self, question: Question, code: StatusCode, details: str, reasons: Reasons = NO_REASON
    ) -> None:
        """Judge a call or a message that ended with a status."""
        if code in reasons:
            fate = Fate.ABANDONED
        elif question.judge is None and code in TOLD_BAD:
            fate = Fate.INVALID
        elif question.judge is not None and code == StatusCode.RESOURCE_EXHAUSTED:
            fate = Fate.REFUSED
        else:
            fate = Fate.UNEXPECTED
        self.tally.add(fate, f"{question} ended {code}: {details}")

    def nothing(self, question: Question) -> None:
        """Judge a request that was never answered, though nobody left."""
        self.tally.add(Fate.MISSING, str(question))

    def unasked(self, name: str) -> None:
        """Judge an answer to an id that waits for none.

        It belongs to no request, so it is counted as one of its own.
        """
        self.tally.sent += 1
        self.tally.add(Fate.TWICE, f"an answer to id {name!r}")
