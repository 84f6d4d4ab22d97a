"""Runs the table of cases with the Python client; CASES.md describes both.

python tests/clients/run_cases.py cases.json NAME=HOST:PORT …
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from semserve import AsyncClient, SemserveError

Case = dict[str, Any]


class Failed(Exception):
    """A case did not come out as the table says."""


def main(arguments: list[str]) -> int:
    """Run every case, or the benchmark; return the exit code."""
    if arguments[0] == "bench":
        asyncio.run(_bench(arguments[1], int(arguments[2])))
        return 0
    table = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    servers = dict(argument.split("=", 1) for argument in arguments[1:])
    failures = 0
    for case in table["cases"]:
        try:
            asyncio.run(_Runner(case, servers, table["tolerance"]).run())
        except Exception as failure:  # noqa: BLE001 - whatever it is, the case has failed
            failures += 1
            reason = f"{type(failure).__name__}: {failure}".replace("\n", " ")
            print(f"FAILED {case['name']}: {reason}", flush=True)
        else:
            print(f"ok {case['name']}", flush=True)
    return int(failures > 0)


class _Runner:
    def __init__(self, case: Case, servers: dict[str, str], tolerance: float) -> None:
        self.given: Case = case["given"]
        self.expect: Case = case["expect"]
        self.call: str = case["call"]
        self.names = case["server"].split("+")
        self.servers = servers
        self.tolerance = self.expect.get("tolerance", tolerance)

    async def run(self) -> None:
        if self.call == "connect":
            self._refuses()
            return
        async with self._client() as client:
            if self.given.get("cancel"):
                await self._cancels(client)
            elif "error" in self.expect:
                try:
                    await self._ask(client)
                except SemserveError as error:
                    self._same_error(self.expect["error"], error)
                else:
                    raise Failed(f"answered; expected {self.expect['error']}")
            else:
                await self._ask(client)

    def _client(self) -> AsyncClient:
        addresses = [self.servers[name] for name in self.names]
        options: Case = {"key": ""}
        if self.names == ["secured"]:
            authority = Path(os.environ["SEMSERVE_TLS_CA"]).read_bytes()
            options["credentials"] = grpc.ssl_channel_credentials(authority)
            options["key"] = self.given.get("key", os.environ["SEMSERVE_KEY"])
        if "in_flight" in self.given:
            options["in_flight"] = self.given["in_flight"]
        address = addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"
        return AsyncClient(address, **options)

    def _refuses(self) -> None:
        address = self.given.get("address", "127.0.0.1:50051")
        try:
            AsyncClient(address, key=self.given.get("key", ""))
        except ValueError:
            return
        raise Failed("a client was made")

    async def _cancels(self, client: AsyncClient) -> None:
        task = asyncio.ensure_future(self._ask(client))
        await asyncio.sleep(0)  # the call begins
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return
        raise Failed("the call was answered")

    async def _ask(self, client: AsyncClient) -> None:
        await getattr(self, f"_{self.call}")(client)

    def _options(self, *names: str) -> Case:
        options = {name: self.given[name] for name in ("model", *names) if name in self.given}
        if "timeout_s" in self.given:
            options["timeout"] = self.given["timeout_s"]
        if self.given.get("partial"):
            options["allow_partial"] = True
        return options

    def _embed_options(self) -> Case:
        return self._options("truncation", "normalize", "dimensions", "encoding")

    async def _embed(self, client: AsyncClient) -> None:
        found = await client.embed(_texts(self.given["texts"]), **self._embed_options())
        self._same_embeddings(self.expect, found)

    async def _classify(self, client: AsyncClient) -> None:
        pairs = [_pair(pair) for pair in self.given["pairs"]]
        found = await client.classify(pairs, **self._options("truncation"))
        self._same_classifications(self.expect, found)

    async def _compare(self, client: AsyncClient) -> None:
        found = await client.compare(self.given["pairs"], **self._options("metric"))
        self._same("scores", self.expect["scores"], found.scores)

    async def _rank(self, client: AsyncClient) -> None:
        given = self.given
        options = self._options("metric", "top_k")
        found = await client.rank(given["query"], given["documents"], **options)
        self._same("hits", self.expect["hits"], _hits(found))

    async def _search(self, client: AsyncClient) -> None:
        given = self.given
        options = self._options("metric", "top_k")
        found = await client.search(given["queries"], given["corpus"], **options)
        self._same("results", self.expect["results"], [_hits(hits) for hits in found])

    async def _matrix(self, client: AsyncClient) -> None:
        left, right = _texts(self.given["left"]), self.given.get("right")
        rows = (await client.matrix(left, right, **self._options("metric"))).scores
        if "each_score" in self.expect:
            count = self.expect["count"]
            self._same("rows", np.full((count, count), self.expect["each_score"]), rows)
        else:
            self._same("rows", self.expect["rows"], rows)

    async def _models(self, client: AsyncClient) -> None:
        self._same_models(await client.models(**self._options()))

    async def _model(self, client: AsyncClient) -> None:
        self._same_models([await client.model(self.given["model"])])

    async def _load_model(self, client: AsyncClient) -> None:
        await client.load_model(self.given["model"])

    async def _tokenize(self, client: AsyncClient) -> None:
        found = await client.tokenize(_texts(self.given["texts"]), **self._options())
        for expected, tokens in zip(self.expect["results"], found, strict=True):
            _equal("tokens", expected["tokens"], list(tokens.tokens))
            _equal("ids", expected["ids"], list(tokens.ids))
            spans = list(zip(expected["starts"], expected["ends"], strict=True))
            _equal("spans", spans, list(tokens.spans))
            _equal("truncated", expected["truncated_tokens"], tokens.truncated_tokens)

    async def _health(self, client: AsyncClient) -> None:
        found = await client.health(self.given["model"])
        _equal("serving", self.expect["serving"], found == "serving")

    async def _stream_embed(self, client: AsyncClient) -> None:
        if "generate" in self.given:
            await self._generated(client)
            return
        requests = self.given["requests"]
        batches = (_texts(request["texts"]) for request in requests)
        answers = client.stream_embed(batches, **self._embed_options())
        await self._same_answers(requests, answers, self._same_embeddings)

    async def _stream_classify(self, client: AsyncClient) -> None:
        requests = self.given["requests"]
        batches = ([_pair(pair) for pair in request["pairs"]] for request in requests)
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
        _equal("answered", set(self.expect["answers"]), seen)

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
        _equal("answered", leave_after or self.expect["count"], len(taken))
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
            _equal("answered", self.given["count"], len(taken))

        async with asyncio.TaskGroup() as group:
            for _ in range(self.given["at_once"]):
                group.create_task(work())
        await stop.done()

    async def _warm(self, client: AsyncClient) -> None:
        for _ in range(20):
            await client.embed(self.given["texts"][:1])

    def _same_embeddings(self, expected: Case, found: Any) -> None:
        if "each" in expected:
            self._same("vectors", [expected["each"]] * expected["count"], found.vectors)
        if "vectors" in expected:
            self._same_rows("vectors", expected["vectors"], found.vectors)
        for name in ("model", "token_counts", "truncated_tokens"):
            if name in expected:
                _equal(name, expected[name], _plain(getattr(found, name)))
        if "usage_token_count" in expected:
            _equal("usage", expected["usage_token_count"], found.usage.token_count)
        self._same_errors(expected, found)

    def _same_classifications(self, expected: Case, found: Any) -> None:
        for name in ("model", "classes"):
            if name in expected:
                _equal(name, expected[name], _plain(getattr(found, name)))
        if "labels" in expected:
            _equal("labels", [label or "" for label in expected["labels"]], list(found.labels))
        for name in ("scores", "logits"):
            if name in expected:
                self._same_rows(name, expected[name], getattr(found, name))
        self._same_errors(expected, found)

    def _same_models(self, found: list[Any]) -> None:
        for expected, model in zip(self.expect["models"], found, strict=True):
            for name, value in expected.items():
                _equal(name, value, _plain(getattr(model, name)))

    def _same_rows(self, name: str, expected: list[Any], found: Any) -> None:
        _equal(f"number of {name}", len(expected), len(found))
        for row, other in zip(expected, found, strict=True):
            if row is not None:
                self._same(name, row, other)

    def _same(self, name: str, expected: Any, found: Any) -> None:
        left, right = np.array(expected, np.float64), np.array(found, np.float64)
        if left.shape != right.shape or not (np.abs(left - right) <= self.tolerance).all():
            raise Failed(f"{name}: expected {expected}, found {found}")

    def _same_errors(self, expected: Case, found: Any) -> None:
        errors = expected.get("errors", {})
        _equal("errors", {int(place) for place in errors}, set(found.errors))
        for place, error in errors.items():
            self._same_error(error, found.errors[int(place)])

    def _same_error(self, expected: Case, found: Any) -> None:
        if found is None or found.code != expected["code"]:
            raise Failed(f"expected {expected}, found {found!r}")
        if "fields" in expected:
            _equal("fields", expected["fields"], list(getattr(found, "fields", {})))
        if "retry_after_s" in expected:
            least, most = expected["retry_after_s"]
            if not least <= found.retry_after <= most:
                raise Failed(f"retry after {found.retry_after} s, not {least} to {most} s")


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
        _equal("the server", f"stopped {self._name}", (await self._stopped).strip())


async def _bench(address: str, count: int) -> None:
    batches = ([f"text {start + place}" for place in range(32)] for start in range(0, count, 32))
    started, answered = time.perf_counter(), 0
    async with AsyncClient(address) as client:
        async for answer in client.stream_embed(batches, encoding="float32"):
            if answer.error is not None:
                raise answer.error
            answered += len(answer.result.vectors)
    rate = answered / (time.perf_counter() - started)
    print(f"Python {answered} texts {rate:.0f} texts/s {_peak()} MB")


def _peak() -> int:
    """The most memory that this process had, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def _texts(items: list[Any]) -> list[str]:
    made = []
    for item in items:
        one = {"text": item} if isinstance(item, str) else item
        made += [one["text"] * one.get("times", 1)] * one.get("copies", 1)
    return made


def _pair(texts: list[str]) -> Any:
    return tuple(texts) if len(texts) > 1 else {"premise": texts[0]}


def _hits(found: Any) -> list[list[float]]:
    return [[hit.index, hit.score] for hit in found]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _equal(name: str, expected: Any, found: Any) -> None:
    if expected != found:
        raise Failed(f"{name}: expected {expected}, found {found}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
