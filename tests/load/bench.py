"""One run of the harness: its settings, its texts, its client processes and what they saw."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from load.bundle import Bundle, read_bundle
from load.client import drive
from load.flops import mean_text, peak_rate
from load.load import Load
from load.record import Record
from load.server import Server
from load.servers.semserve import semserve, understands
from load.settings import Settings
from load.texts import Texts

TINY = Path(__file__).parent.parent / "bundles" / "tiny-nli"
PEAK_SECONDS = 0.4
FP32 = ("fused", "portable")
"""Graphs of full precision, the fastest first."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Run:
    """A record with what it is of."""

    part: str
    server: str
    record: Record


@dataclass
class Bench:
    """What every part of the bench is given."""

    settings: Settings
    texts: Texts
    client: ProcessPoolExecutor
    """The process that asks."""
    beside: ProcessPoolExecutor
    """Another one, for a load that goes on beside the measured one."""
    tell: Callable[[str], None]
    """Shows what is being measured."""
    runs: list[Run] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    """What to say in the results of what was measured."""
    peaks: list[float] = field(default_factory=list)
    """The machine's fp32 operations a second in large matrix products, measured now and then."""
    source: str = ""
    """Recipe or directory that the embedder was exported from; its name where empty."""

    def measure_peak(self) -> float:
        """Measure the peak once more, and return it."""
        self.tell("the machine's peak")
        self.peaks.append(self.beside.submit(peak_rate, PEAK_SECONDS).result())
        return self.peaks[-1]

    @cached_property
    def text_flops(self) -> float:
        """Floating-point operations of a short text in the embedder, in the mean."""
        return mean_text(self.embedder, tuple(self.texts.short))

    def share_of_peak(self, texts_per_second: float) -> float:
        """Return what a rate of short texts is of the machine's peak; NaN before it is measured."""
        return texts_per_second * self.text_flops / max(self.peaks) if self.peaks else math.nan

    def drive(self, part: str, server: Server, load: Load, *, beside: Load | None = None) -> Record:
        """Run a load in a client process, with another one beside it if given; keep the record."""
        self.tell(f"{part}: {server.name}, {load.shape}")
        other = self.beside.submit(drive, beside) if beside else None
        record = self.client.submit(drive, load).result()
        if other:
            other.result()
        self.runs.append(Run(part, server.name, record))
        return record

    @property
    def window(self) -> dict[str, float]:
        """The times that a load takes from the settings."""
        return {"seconds": self.settings.seconds, "warm_up": self.settings.warm_up}

    @cached_property
    def embedder(self) -> Bundle:
        """The bundle of the embedding model."""
        return read_bundle(self.settings.models / self.settings.embedder)

    @cached_property
    def classifier(self) -> Bundle:
        """The bundle of the small classifier."""
        exported = self.settings.models / "nli-bert-tiny"
        usual = exported if (exported / "bundle.json").is_file() else TINY
        return read_bundle(self.settings.classifier or usual)

    @cached_property
    def variant(self) -> str:
        """The graph of full precision that is measured."""
        wanted = (self.settings.variant,) if self.settings.variant else FP32
        usable = [name for name in wanted if name in self.embedder.variants]
        return usable[0] if understands("--variant") and usable else "portable"

    def semserve(
        self, bundle: Bundle, *, variant: str = "", name: str = "semserve"
    ) -> contextlib.AbstractContextManager[Server]:
        """Serve a bundle with the flags of the settings, and the variant where one is named."""
        flags = list(self.settings.server_flag)
        if variant and understands("--variant"):
            flags += ["--variant", variant]
        return semserve(bundle, flags, name=name)


@contextlib.contextmanager
def worker_process() -> Iterator[ProcessPoolExecutor]:
    """Yield a process that has started, so that what it is given begins at once."""
    # Forking a process that uses gRPC would copy its threads' locks without its threads.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(os.getpid).result()
        yield pool


def alternate(sides: Mapping[str, Callable[[], _T]], rounds: int) -> dict[str, list[_T]]:
    """Run the sides in turn, A B A B …, so that what the machine does meanwhile meets them all."""
    seen: dict[str, list[_T]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            seen[name].append(run())
    return seen
