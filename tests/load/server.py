"""A server under load, and the loads that suit it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from load.load import Load
from load.process import Process
from load.wire import Item, Wire

FIRST_ANSWER_SECONDS = 0.25
"""How long a server that is starting may hold one attempt."""


class Absent(Exception):
    """A server cannot be measured here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers."""

    name: str
    process: Process
    address: str
    wire: Wire
    item_bytes: int
    """Fewest bytes of an answer for one text or pair."""
    facts: dict[str, object] = field(default_factory=dict)
    """What to say of it in the results."""

    def load(
        self, items: Sequence[Item], *, texts: int = 1, streams: int = 0, **how: float
    ) -> Load:
        """Make a load of `items`, `texts` of them a message; `how` are other fields of a Load."""
        groups = [items[start : start + texts] for start in range(0, len(items), texts)]
        requests = tuple(self.wire.write(group) for group in groups if len(group) == texts)
        return Load(
            address=self.address,
            group=self.process.group,
            method=self.wire.stream if streams else self.wire.unary,
            requests=requests,
            texts_per_request=texts,
            answer_bytes=self.item_bytes * texts,
            streams=streams,
            **how,
        )

    def ask(self, item: Item, *, timeout: float = 60.0) -> bytes:
        """Make one call and return the answer's bytes."""
        with grpc.insecure_channel(self.address) as channel:
            call = channel.unary_unary(self.wire.unary)
            return call(self.wire.write([item]), timeout=timeout, wait_for_ready=True)

    def wait(self) -> None:
        """Wait for the first whole answer; for servers that open their port before they are warm.

        Raises:
            StartError: the process ended or never answered.
        """

        def answered(_said: str) -> bool:
            with contextlib.suppress(grpc.RpcError):
                return len(self.ask("hello", timeout=FIRST_ANSWER_SECONDS)) >= self.item_bytes
            return False

        self.process.wait_for(answered, "answer")
