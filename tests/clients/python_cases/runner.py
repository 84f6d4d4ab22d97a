"""One case: the call that it makes with the Python client."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import numpy as np
from clients.python_cases.comparing import Case, Failed, equal, hits
from clients.python_cases.streaming import Streaming, pair, texts
from semserve import AsyncClient, SemserveError

ARGUMENTS = {
    "prompt": "prompt_name",
    "right_prompt": "right_prompt_name",
    "document_prompt": "document_prompt_name",
    "tokens": "include_tokens",
}
"""What this client calls an option, where that is another name."""


class Runner(Streaming):
    """Runs one case."""

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
        options = {
            ARGUMENTS.get(name, name): self.given[name]
            for name in ("model", *names)
            if name in self.given
        }
        if "timeout_s" in self.given:
            options["timeout"] = self.given["timeout_s"]
        if self.given.get("partial"):
            options["allow_partial"] = True
        return options

    def _embed_options(self) -> Case:
        return self._options("truncation", "normalize", "dimensions", "encoding", "prompt", "side")

    async def _embed(self, client: AsyncClient) -> None:
        found = await client.embed(texts(self.given["texts"]), **self._embed_options())
        self._same_embeddings(self.expect, found)

    async def _classify(self, client: AsyncClient) -> None:
        pairs = [pair(each) for each in self.given["pairs"]]
        found = await client.classify(pairs, **self._options("truncation"))
        self._same_classifications(self.expect, found)

    async def _compare(self, client: AsyncClient) -> None:
        found = await client.compare(
            self.given["pairs"], **self._options("metric", "prompt", "right_prompt")
        )
        self._same("scores", self.expect["scores"], found.scores)
        self._same_totals(found)

    async def _rank(self, client: AsyncClient) -> None:
        given = self.given
        options = self._options("metric", "top_k", "prompt", "document_prompt")
        found = await client.rank(given["query"], given["documents"], **options)
        self._same("hits", self.expect["hits"], hits(found))
        self._same_totals(found)

    async def _search(self, client: AsyncClient) -> None:
        given = self.given
        options = self._options("metric", "top_k", "prompt", "document_prompt")
        found = await client.search(given["queries"], given["corpus"], **options)
        self._same("results", self.expect["results"], [hits(each) for each in found])
        self._same_totals(found)

    async def _matrix(self, client: AsyncClient) -> None:
        left, right = texts(self.given["left"]), self.given.get("right")
        options = self._options("metric", "prompt", "right_prompt")
        found = await client.matrix(left, right, **options)
        self._same_totals(found)
        rows = found.scores
        if "each_score" in self.expect:
            count = self.expect["count"]
            self._same("rows", np.full((count, count), self.expect["each_score"]), rows)
        else:
            self._same("rows", self.expect["rows"], rows)

    async def _embed_sparse(self, client: AsyncClient) -> None:
        options = self._options("top_k", "truncation", "prompt", "tokens")
        found = await client.embed_sparse(texts(self.given["texts"]), **options)
        if "model" in self.expect:
            equal("model", self.expect["model"], found.model)
        for expected, vector in zip(self.expect["results"], found.vectors, strict=True):
            if expected is not None:
                equal("indices", expected["indices"], vector.indices.tolist())
                self._same("values", expected["values"], vector.values)
                equal("tokens", expected.get("tokens", []), list(vector.tokens))
        self._same_errors(self.expect, found)

    async def _score(self, client: AsyncClient) -> None:
        given = self.given
        items = [tuple(pair) for pair in given["pairs"]] if "pairs" in given else given["texts"]
        found = await client.score(items, **self._options("truncation"))
        if "model" in self.expect:
            equal("model", self.expect["model"], found.model)
        for expected, score in zip(self.expect["scores"], found.scores, strict=True):
            equal("absent", expected is None, bool(np.isnan(score)))
            if expected is not None:
                self._same("score", expected, score)
        self._same_errors(self.expect, found)

    async def _rerank(self, client: AsyncClient) -> None:
        given = self.given
        options = self._options("truncation", "top_k")
        found = await client.rerank(given["query"], given["documents"], **options)
        self._same("hits", self.expect["hits"], hits(found))
        self._same_totals(found)

    async def _server_info(self, client: AsyncClient) -> None:
        found = await client.server_info(**self._options())
        for name in ("limits", "default_models"):
            read = {key: getattr(found, name)[key] for key in self.expect[name]}
            equal(name, self.expect[name], read)
        for name in ("default_top_k", "allow_model_control"):
            equal(name, self.expect[name], getattr(found, name))

    async def _models(self, client: AsyncClient) -> None:
        self._same_models(await client.models(**self._options()))

    async def _model(self, client: AsyncClient) -> None:
        self._same_models([await client.model(self.given["model"])])

    async def _load_model(self, client: AsyncClient) -> None:
        await client.load_model(self.given["model"])

    async def _tokenize(self, client: AsyncClient) -> None:
        found = await client.tokenize(texts(self.given["texts"]), **self._options())
        for expected, tokens in zip(self.expect["results"], found, strict=True):
            equal("tokens", expected["tokens"], list(tokens.tokens))
            equal("ids", expected["ids"], list(tokens.ids))
            spans = list(zip(expected["starts"], expected["ends"], strict=True))
            equal("spans", spans, list(tokens.spans))
            equal("truncated", expected["truncated_tokens"], tokens.truncated_tokens)

    async def _health(self, client: AsyncClient) -> None:
        found = await client.health(self.given["model"])
        equal("serving", self.expect["serving"], found == "serving")
