"""A call that is alone in the server runs where it is read; others are handed to a worker."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from conftest import InProcess
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.completion_queue.poller import THREAD as POLLER
from semserve_server.scheduling.dispatch import MEASURED_RUNS

CALLS = MEASURED_RUNS + 20
MOST_CALLS = 100 * MEASURED_RUNS
"""On a busy machine a run may be slow, and then as many short ones must follow once more."""


async def embed(service: InProcess) -> EmbedResponse:
    return await EmbeddingServiceStub(service.channel).Embed(EmbedRequest(texts=["a short text"]))


def ran_on_the_loop(threads: Sequence[str]) -> bool:
    """Whether a run was on a thread of the event loop: its own, or that of the poller."""
    return bool({threading.current_thread().name, POLLER} & set(threads))


async def test_a_lone_callers_text_runs_on_the_event_loops_thread_and_has_the_same_vector(
    service: InProcess,
) -> None:
    threads = service.embedder.threads
    first = last = await embed(service)
    while not ran_on_the_loop(threads) and len(threads) < MOST_CALLS:
        last = await embed(service)
    assert ran_on_the_loop(threads)
    assert not ran_on_the_loop(threads[:MEASURED_RUNS])
    assert first == last


async def test_while_a_stream_is_open_no_call_blocks_the_event_loop(service: InProcess) -> None:
    stream = EmbeddingServiceStub(service.channel).StreamEmbed()
    await stream.write(StreamEmbedRequest(id="1", request=EmbedRequest(texts=["first"])))
    await stream.read()
    for _ in range(CALLS):
        await embed(service)
    await stream.done_writing()
    assert not ran_on_the_loop(service.embedder.threads)
    assert CALLS + 1 == len(service.embedder.threads)
