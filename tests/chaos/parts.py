"""The long forms: what the tests do briefly, done long and often. Each yields figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
from semserve.v1.model_pb2 import GetModelRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub

from chaos import endings, large_answers, many_messages, slow_readers, storm
from chaos.answers import Answers, compute
from chaos.attacks import ATTACKS, attack, crowd
from chaos.bystanders import bystanders
from chaos.client import PATIENCE
from chaos.fuzz import fuzz
from chaos.obstacles import OBSTACLES
from chaos.server import TINY, Server, serving
from chaos.tally import Fate, Tally

Figure = dict[str, Any]
"""What was found; `kept` tells whether the promise was."""

LONG_STREAM = 5000
CROWD = 1000
ATTACKERS = 4


class Scale(Protocol):
    """How much of everything; see `Settings`."""

    requests: int
    examples: int
    force: int
    rounds: int
    seed: int


def run_storm(scale: Scale) -> Iterator[Figure]:
    """Every request of very many has its own right answer, and memory stays flat."""
    with serving() as server:
        rounds = []
        whole = Tally()
        for one in storm.blow(server, TINY, requests=scale.requests, rounds=10, seed=scale.seed):
            rounds.append(one)
            whole.merge(one.tally)
            yield one.record() | {"kept": not one.tally.faults and server.lives}
        growth = storm.growth(rounds)
        yield {
            "kept": growth <= storm.MOST_GROWTH and not whole.faults,
            "sent": whole.sent,
            "fates": {fate: whole.fates[fate] for fate in Fate},
            "memory_growth_percent": round(100 * growth, 2),
        }


def run_fuzz(scale: Scale) -> Iterator[Figure]:
    """No bytes bring about a status that is the server's fault."""
    with serving() as server:
        seen = fuzz(server, examples=scale.examples)
        yield {"kept": server.lives and "Traceback" not in server.said, "statuses": dict(seen)}


def run_streams(scale: Scale) -> Iterator[Figure]:
    """Of 5,000 messages all are answered, and slow readers hold no more than their bound."""
    answers = compute(TINY, count=1000, seed=scale.seed)
    with serving() as server:
        for number in range(scale.rounds):
            streamed = many_messages.stream(
                server, answers, messages=LONG_STREAM, seed=scale.seed + number
            )
            fates = asyncio.run(streamed).fates
            bad = LONG_STREAM // many_messages.BAD_EVERY
            kept = fates == {Fate.RIGHT: LONG_STREAM - bad, Fate.INVALID: bad}
            yield {"kept": kept, "fates": dict(fates)}
        yield asyncio.run(slow_readers.read_nothing(server, answers))
    with serving(*large_answers.FLAGS) as server:
        yield asyncio.run(
            large_answers.read_no_large_answers(server, waves=scale.rounds + 1, clients=10)
        )


def run_strangers(scale: Scale) -> Iterator[Figure]:
    """Others are served beside every stranger, and the strangers leave nothing behind."""
    answers = compute(TINY, count=200, seed=scale.seed)
    with serving() as server:
        for what in ATTACKS:
            before = server.process.resident_bytes()
            tally = asyncio.run(
                _beside(server, answers, lambda what=what: _attack(server, what, scale.force))
            )
            yield {
                "what": what.__name__,
                "kept": not tally.faults and server.lives,
                "others_right": tally.fates[Fate.RIGHT],
                "samples": tally.samples,
                "resident_megabytes": round(server.process.resident_bytes() / 1e6, 1),
                "resident_megabytes_before": round(before / 1e6, 1),
            }
        tally = asyncio.run(_beside(server, answers, lambda: crowd(server.address, CROWD)))
        yield {
            "what": f"{CROWD} connections that say nothing",
            "kept": not tally.faults and server.lives,
            "others_right": tally.fates[Fate.RIGHT],
        }


def _attack(
    server: Server, what: Callable[[int], Iterator[bytes]], force: int
) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    for one in range(ATTACKERS):
        connection = attack(server.address, what, force + one)
        if connection:
            stack.enter_context(connection)
    return stack


async def _beside(
    server: Server, answers: Answers, strange: Callable[[], contextlib.ExitStack]
) -> Tally:
    """Let bystanders ask before, beside and after what strangers do."""
    async with bystanders(server, answers) as others:
        await others.wait_for(20)
        with await asyncio.to_thread(strange):
            await others.wait_for(200)
        await others.wait_for(20)
    return others.tally


def run_endings(scale: Scale) -> Iterator[Figure]:
    """Servers that are told to end, killed or stopped give no wrong answer and lose none."""
    answers = compute(TINY, count=200, seed=scale.seed)
    for end in (endings.told_to_end, endings.killed, endings.stopped_for_a_while):
        for number in range(scale.rounds):
            with serving("--run-timeout", "1", "--stall-timeout", "1") as server:
                tally = asyncio.run(end(server, answers, seed=scale.seed + number))
            yield {
                "what": end.__name__,
                "kept": not tally.faults,
                "fates": dict(tally.fates),
                "samples": tally.samples,
            }


def run_obstacles(scale: Scale) -> Iterator[Figure]:
    """Servers end in time whoever comes back, whatever hangs, and whether their log is read."""
    for obstacle in OBSTACLES:
        for _ in range(scale.rounds):
            asyncio.run(obstacle())
            yield {"what": obstacle.__name__, "kept": True}


def run_reloads(scale: Scale) -> Iterator[Figure]:
    """Bundles are replaced under load, now and then by a bad one, and no call fails."""
    answers = compute(TINY, count=200, seed=scale.seed)
    with tempfile.TemporaryDirectory() as directory:
        models = Path(shutil.copytree(TINY, Path(directory, "models")))
        with serving(models=models) as server:
            tally = asyncio.run(_reload(server, models / "tiny-embed", answers, scale))
            yield {
                "kept": not tally.faults and server.lives,
                "reloads": 3 * scale.rounds,
                "fates": dict(tally.fates),
                "samples": tally.samples,
                "resident_megabytes": round(server.process.resident_bytes() / 1e6, 1),
            }


async def _reload(server: Server, bundle: Path, answers: Answers, scale: Scale) -> Tally:
    """Replace the bundle again and again; every third one is cut short and must not be taken."""
    draw = random.Random(scale.seed)  # noqa: S311  (where to cut is no secret)
    manifest = json.loads((bundle / "bundle.json").read_text())
    graph = (bundle / "model.onnx").read_bytes()
    async with (
        bystanders(server, answers, number=9) as others,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        models = ModelServiceStub(channel)
        for number in range(3 * scale.rounds):
            bad = number % 3 == 2
            (bundle / "model.onnx").write_bytes(
                graph[: draw.randrange(len(graph))] if bad else graph
            )
            unfinished = bundle / "bundle.json.unfinished"
            unfinished.write_text(json.dumps(manifest | {"description": f"number {number}"}))
            unfinished.replace(bundle / "bundle.json")
            server.process.popen.send_signal(signal.SIGHUP)
            async with asyncio.timeout(PATIENCE):
                while True:
                    info = (await models.GetModel(GetModelRequest(model="tiny-embed"))).model
                    if info.reload_error if bad else info.description == f"number {number}":
                        break
            await others.wait_for(30)
    return others.tally


PARTS: dict[str, Callable[[Scale], Iterator[Figure]]] = {
    "strangers": run_strangers,
    "streams": run_streams,
    "endings": run_endings,
    "obstacles": run_obstacles,
    "reloads": run_reloads,
    "fuzz": run_fuzz,
    "storm": run_storm,
}
