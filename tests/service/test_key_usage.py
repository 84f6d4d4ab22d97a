"""What was asked with each key is counted by the name that the key file gives it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from conftest import in_process
from prometheus_client import CollectorRegistry
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key
from semserve_server.auth.key_store import KeyStore
from semserve_server.frontend.security import Security
from semserve_server.observability.metrics import Metrics


async def test_what_each_key_asked_for_is_counted_by_its_name(
    tiny_models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    presented, key = new_key("alice")
    add_key(path, key)
    add_key(path, new_key("bob")[1])
    key_store = KeyStore(path)
    async with in_process(tiny_models, security=Security(key_store=key_store)) as server:
        stub = EmbeddingServiceStub(server.channel)
        metadata = (("authorization", f"Bearer {presented}"),)
        answer = await stub.Embed(EmbedRequest(texts=["a cat"]), metadata=metadata)
        await refusal(stub.Embed(EmbedRequest(), metadata=metadata))
        await refusal(stub.Embed(EmbedRequest(texts=["a cat"])))
        registry = CollectorRegistry()
        registry.register(Metrics(server.recorder, server.models))

        def sample(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"semserve_{name}", labels)

        # A caller may have its status a moment before the server has counted it.
        while not sample("key_requests_total", key="alice", code="INVALID_ARGUMENT"):
            await asyncio.to_thread(lambda: None)
        assert 1 == sample("key_requests_total", key="alice", code="OK")
        assert answer.usage.token_count == sample("key_tokens_total", key="alice")
        assert None is sample("key_tokens_total", key="bob"), "it was never used"
        names = {
            one.labels["key"]
            for metric in registry.collect()
            for one in metric.samples
            if "key" in one.labels
        }
        assert {"alice"} == names


def test_usage_outlives_a_new_secret_and_ends_with_the_name(tmp_path: Path) -> None:
    path, now = tmp_path / "keys", 0.0
    presented, first = new_key("alice")
    path.write_text(f"{first}\n")
    key_store = KeyStore(path, clock=lambda: now)
    key_store.principal(presented).usage.tokens = 7
    presented, second = new_key("alice")
    path.write_text(f"{second}\n# a new secret\n")
    now += 2
    assert 7 == key_store.principal(presented).usage.tokens
    path.write_text(f"{new_key('bob')[1]}\n")
    now += 2
    key_store.check_file()
    assert set() == key_store.usage.keys()
