"""The cases of streams, and of servers that go away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

from clients.python_cases.comparing import Case, Comparing, Failed, equal
from semserve import AsyncClient


class Streaming(Comparing):
    """Runs the cases of streams.

    Attributes:
        given: of the case.
    """

    given: Case

    def _embed_options(self) -> Case:
        raise NotImplementedError

    def _options(self, *names: str) -> Case:
        raise NotImplementedError

    async def _stream_embed(self, client: AsyncClient) -> None:
        if "generate" in self.given:
            await self._generated(client)
            return
        requests = self.given["requests"]
        batches = (texts(request["texts"]) for request in requests)
        answers = client.stream_embed(batches, **self._embed_options())
        await self._same_answers(requests, answers, self._same_embeddings)

    async def _stream_classify(self, client: AsyncClient) -> None:
        requests = self.given["requests"]
        batches = ([pair(each) for each in request["pairs"]] for request in requests)
        answers = client.stream_classify(batches, **self._options("truncation"))
        await self._same_answers(requests, answers, self._same_classifications)

    async def _same_answers(
        self, requests: list[Case], answers: AsyncIterator[Any], same: Callable[[Case, Any], None]
    ) -> None:
        seen = set()
        async for answer in answers:
            name = requests[answer.index]["id"]
            if name in seen:
                raise Failed(f"request {name!r} was answered twice")
            seen.add(name)
            expected = self.expect["answers"][name]
            if "error" in expected:
                self._same_error(expected["error"], answer.error)
            else:
                same(expected, answer.result)
        equal("answered", set(self.expect["answers"]), seen)

    async def _generated(self, client: AsyncClient) -> None:
        generate, leave_after = self.given["generate"], self.given.get("leave_after")
        read = _Counted(generate["count"], generate["texts"])
        taken: set[int] = set()
        async with aclosing(client.stream_embed(read, **self._embed_options())) as answers:
            async for answer in answers:
                read.taken += 1
                taken.add(answer.index)
                self._same_generated(answer)
                if read.taken == leave_after:
                    break
        equal("answered", leave_after or self.expect["count"], len(taken))
        if read.most_ahead > self.expect["max_ahead"]:
            raise Failed(f"{read.most_ahead} requests ahead, not {self.expect['max_ahead']}")
        if leave_after:
            await client.embed(generate["texts"][:1])

    def _same_generated(self, answer: Any) -> None:
        vectors = self.expect["vectors"]
        if answer.error is not None:
            raise answer.error
        self._same("vector", vectors[answer.index % len(vectors)], answer.result.vectors[0])

    async def _failover_calls(self, client: AsyncClient) -> None:
        texts, vectors = self.given["texts"], self.expect["vectors"]
        await self._warm(client)
        places = iter(range(self.given["count"]))
        stop = _Stop(self.given)

        async def work() -> None:
            for place in places:
                found = await client.embed([texts[place % len(texts)]])
                self._same("vector", vectors[place % len(texts)], found.vectors[0])
                stop.answered()

        async with asyncio.TaskGroup() as group:
            for _ in range(self.given["at_once"]):
                group.create_task(work())
        await stop.done()

    async def _failover_streams(self, client: AsyncClient) -> None:
        await self._warm(client)
        stop = _Stop(self.given)

        async def work() -> None:
            taken = set()
            read = _Counted(self.given["count"], self.given["texts"])
            async for answer in client.stream_embed(read):
                taken.add(answer.index)
                self._same_generated(answer)
                stop.answered()
            equal("answered", self.given["count"], len(taken))

        async with asyncio.TaskGroup() as group:
            for _ in range(self.given["at_once"]):
                group.create_task(work())
        await stop.done()

    async def _warm(self, client: AsyncClient) -> None:
        for _ in range(20):
            await client.embed(self.given["texts"][:1])


class _Counted:
    """Generated requests, and how far they were read ahead of the answers taken."""

    def __init__(self, count: int, texts: list[str]) -> None:
        self._count, self._texts = count, texts
        self.taken = self.most_ahead = 0

    def __iter__(self) -> Iterator[list[str]]:
        for place in range(self._count):
            self.most_ahead = max(self.most_ahead, place + 1 - self.taken)
            yield [self._texts[place % len(self._texts)]]


class _Stop:
    """Has a server killed once there were so many answers, while calls go on."""

    def __init__(self, given: Case) -> None:
        self._name, self._after = given["stop"], given["stop_after"]
        self._answers = 0
        self._stopped: asyncio.Future[str] | None = None

    def answered(self) -> None:
        self._answers += 1
        if self._answers == self._after:
            print(f"stop {self._name}", flush=True)
            loop = asyncio.get_running_loop()
            self._stopped = loop.run_in_executor(None, sys.stdin.readline)

    async def done(self) -> None:
        assert self._stopped is not None
        equal("the server", f"stopped {self._name}", (await self._stopped).strip())


def texts(items: list[Any]) -> list[str]:
    made = []
    for item in items:
        one = {"text": item} if isinstance(item, str) else item
        made += [one["text"] * one.get("times", 1)] * one.get("copies", 1)
    return made


def pair(texts: list[str]) -> Any:
    return tuple(texts) if len(texts) > 1 else {"premise": texts[0]}
