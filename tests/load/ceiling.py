"""The bare runtime: the same texts through ONNX Runtime alone, by the best plan there is.

All texts are known and tokenised beforehand, batches are cut from the whole corpus by length, and
every core runs batches of its own with one thread. No server can be faster with the same graph.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import tokenizers
from numpy.typing import NDArray

from load.bundle import Bundle

BUDGETS = (256, 512, 1024)
"""Padded tokens of a batch that are tried."""

Feeds = dict[str, NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run and how."""

    bundle: Bundle
    graph: Path
    texts: tuple[str, ...]
    workers: int
    max_batch_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Bare:
    """What came of it."""

    texts_per_second: float
    server_cpu_us: float
    max_batch_tokens: int


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_bare(plan: Plan) -> Bare:
    """Run whole passes over the texts until the time is over."""
    session = _session(plan.graph)
    batches = _batches(plan.bundle, plan.texts, plan.max_batch_tokens)
    began, cpu_began, passes, lane_seconds = time.perf_counter(), time.process_time(), 0, 0.0
    while time.perf_counter() < began + plan.seconds:
        lane_seconds += _pass(session, plan, batches)
        passes += 1
    answered = passes * len(plan.texts)
    return Bare(
        # Workers end a pass within a batch of each other; what one of them waits then is not cost.
        texts_per_second=answered * plan.workers / lane_seconds,
        server_cpu_us=(time.process_time() - cpu_began) / answered * 1e6,
        max_batch_tokens=plan.max_batch_tokens,
    )


def _pass(session: ort.InferenceSession, plan: Plan, batches: Sequence[Feeds]) -> float:
    """Run every batch once over all workers; the sum of the seconds that the workers took."""
    waiting = iter(batches)
    lock = threading.Lock()

    def worker(_number: int) -> float:
        began = time.perf_counter()
        while True:
            with lock:
                feeds = next(waiting, None)
            if feeds is None:
                return time.perf_counter() - began
            session.run([plan.bundle.output], feeds)

    with ThreadPoolExecutor(plan.workers) as pool:
        return sum(pool.map(worker, range(plan.workers)))


@functools.cache
def _session(graph: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@functools.cache
def _batches(bundle: Bundle, texts: tuple[str, ...], max_batch_tokens: int) -> list[Feeds]:
    """Cut the texts, longest first, into batches within the budget."""
    tokenizer = tokenizers.Tokenizer.from_file(str(bundle.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.max_tokens)
    encodings = tokenizer.encode_batch_fast(list(texts))
    by_length = iter(sorted(encodings, key=len, reverse=True))
    batches = []
    for longest in by_length:
        # The first of a batch is its longest, and with it the batch's size is known.
        fitting = max(max_batch_tokens // len(longest), 1)
        batches.append(_pad([longest, *itertools.islice(by_length, fitting - 1)], bundle.inputs))
    return batches


def _pad(encodings: list[tokenizers.Encoding], inputs: Sequence[str]) -> Feeds:
    shape = len(encodings), len(encodings[0])
    feeds = {name: np.zeros(shape, np.int32) for name in inputs}
    for row, encoding in enumerate(encodings):
        feeds["token_ids"][row, : len(encoding)] = encoding.ids
        feeds["padding_mask"][row, : len(encoding)] = 1
        if "segment_ids" in feeds:
            feeds["segment_ids"][row, : len(encoding)] = encoding.type_ids
    return feeds
