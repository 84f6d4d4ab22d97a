"""The graph of a Functional model: the inputs of each tensor, and the vectors that separate sides.

A tensor is identified by the `id` of its KerasTensor, which lives as long as the model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from semserve_export.models.keras_internals import producer

Side = frozenset[int]
"""Indices of a model's inputs."""
MOST_CUTS = 16  # cuts that are tried for one side, the nearest to the output first


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a layer or an operation."""

    operation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


class LayerGraph:
    """The calls between the inputs and the outputs of a Functional model, in execution order."""

    def __init__(self, model: Any) -> None:
        """Read the graph of a model with symbolic inputs and outputs."""
        self.inputs: list[Any] = list(model.inputs)
        self.outputs: list[Any] = list(model.outputs)
        self.steps: list[Step] = steps_between(self.inputs, self.outputs)
        self.needs: dict[int, Side] = {
            id(tensor): frozenset([place]) for place, tensor in enumerate(self.inputs)
        }
        for step in self.steps:
            needed = frozenset().union(*(self.needs[id(tensor)] for tensor in step.inputs))
            self.needs |= {id(tensor): needed for tensor in step.outputs}

    def sides(self, first: int = 0) -> Iterator[tuple[Side, Side]]:
        """Yield the ways to divide the inputs into two sides, each with tensors that depend on it.

        Args:
            first: index of an input of the first side.

        Yields:
            The two sides; sides with equal numbers of inputs come first.
        """
        everything = frozenset(range(len(self.inputs)))
        seen = set(self.needs.values())
        halves = {one for one in seen if first in one and everything - one in seen}
        for one in sorted(halves, key=lambda half: (abs(2 * len(half) - len(everything)), *half)):
            yield one, everything - one

    def cuts(self, side: Side) -> list[Any]:
        """Return the vectors that all paths from a side to the outputs contain, the last one first.

        Returns:
            At most `MOST_CUTS` tensors [batch, dimensions], with known dimensions.
        """
        steps = [step for step in self.steps if self.needed(step) <= side]
        vectors = [
            tensor for step in reversed(steps) for tensor in step.outputs if _is_vector(tensor)
        ]
        return [tensor for tensor in vectors if not self._reaches_without(side, tensor)][:MOST_CUTS]

    def joint_steps(self) -> list[Step]:
        """Return the calls whose tensors depend on different inputs."""
        return [
            step for step in self.steps if len({self.needs[id(one)] for one in step.inputs}) > 1
        ]

    def needed(self, step: Step) -> Side:
        """Return the inputs that a call depends on."""
        return self.needs[id(step.outputs[0])]

    def _reaches_without(self, side: Side, without: Any) -> bool:
        """Return whether a path from a side's inputs to an output avoids one tensor."""
        reached = {id(self.inputs[place]) for place in side}
        for step in self.steps:
            if any(id(tensor) in reached for tensor in step.inputs):
                reached |= {id(tensor) for tensor in step.outputs}
                reached.discard(id(without))
        return any(id(tensor) in reached for tensor in self.outputs)


def steps_between(inputs: Sequence[Any], outputs: Sequence[Any]) -> list[Step]:
    """Return the calls from some tensors to others, in execution order.

    It uses no recursion, because a graph may have thousands of calls.
    """
    done = {id(tensor) for tensor in inputs}
    steps: list[Step] = []
    waiting: list[Any] = list(outputs)
    while waiting:
        tensor = waiting[-1]
        if id(tensor) in done:
            waiting.pop()
            continue
        step = Step(*producer(tensor))
        missing = [one for one in step.inputs if id(one) not in done]
        if missing:
            waiting += missing
            continue
        steps.append(step)
        done |= {id(one) for one in step.outputs}
    return steps


def _is_vector(tensor: Any) -> bool:
    shape = tuple(tensor.shape)
    return len(shape) == 2 and shape[1] is not None and "float" in str(tensor.dtype)  # noqa: PLR2004
