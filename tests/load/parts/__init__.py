"""The parts of the bench: each measures one thing and returns its figures."""

from __future__ import annotations

from collections.abc import Callable

from load.bench import Bench
from load.figure import Figure
from load.parts import (
    base,
    depth,
    front_end,
    grpcio,
    memory,
    mixed,
    overload,
    processes,
    serving,
    start,
    variants,
)

PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "serving": serving.measure,
    "start": start.measure,
    "memory": memory.measure,
    "variants": variants.measure,
    "front-end": front_end.measure,
    "grpcio": grpcio.measure,
    "processes": processes.measure,
    "overload": overload.measure,
    "mixed": mixed.measure,
    "depth": depth.measure,
    "base": base.measure,
}
