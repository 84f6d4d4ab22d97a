"""Where the nodes of a session run. Pure, except for reading the profile of a run.

ONNX Runtime runs a node on the CPU if the device has no kernel for it, and copies its inputs to the
host and its outputs back. It reports that nowhere but in the profile of a run. It also runs
arithmetic with shapes on the CPU on purpose: shapes are in the memory of the host already, and
nothing is copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

MAX_NAMED = 5
"""Most nodes that a message names."""
_CPU = "CPUExecutionProvider"
_COPIES = frozenset({"MemcpyToHost", "MemcpyFromHost"})
_KERNEL = "_kernel_time"


@dataclass(frozen=True, slots=True)
class Node:
    """A node that ran."""

    name: str
    operator: str
    provider: str


class _Event(msgspec.Struct):
    name: str = ""
    cat: str = ""
    args: dict[str, object] = {}


def nodes_of(profile: Path) -> list[Node]:
    """Return the nodes that ran, from a profile that ONNX Runtime wrote."""
    events = msgspec.json.decode(profile.read_bytes(), type=list[_Event])
    return [
        Node(
            one.name.removesuffix(_KERNEL),
            str(one.args.get("op_name", "")),
            str(one.args.get("provider", "")),
        )
        for one in events
        if one.cat == "Node" and one.name.endswith(_KERNEL)
    ]


def misplaced(nodes: Iterable[Node], *, allowed: frozenset[str]) -> list[Node]:
    """Return the nodes that run on the CPU and should not.

    If nothing is copied between the device and the host, the nodes on the CPU are arithmetic with
    shapes, and none of them is returned.

    Args:
        nodes: the nodes of a run on another device than the CPU.
        allowed: operators that may run on the CPU.
    """
    ran = list(nodes)
    copied = any(node.operator in _COPIES for node in ran)
    return [
        node
        for node in ran
        if copied and node.provider == _CPU and node.operator not in allowed | _COPIES
    ]


def described(nodes: Iterable[Node]) -> str:
    """Return the nodes for a message: how many of each operator, and the names of the first."""
    found = list(nodes)
    counts = Counter(node.operator for node in found)
    operators = ", ".join(f"{number} {operator}" for operator, number in counts.most_common())
    names = ", ".join(node.name for node in found[:MAX_NAMED])
    more = ", …" if len(found) > MAX_NAMED else ""
    return f"{operators} ({names}{more})"
