"""The report of an export: what was understood of the model, and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from semserve_export.model_spec import PREMISE_FIRST, ModelSpec

Origin = Literal["stated", "found", "assumed"]
"""Who said it: the caller, the model and its files, or nobody."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was understood of a model."""

    name: str  # as an engineer would look it up: task, head, pooling, padding
    value: str  # for people
    origin: Origin = "found"


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that was measured, and the most that it may be."""

    name: str
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class Report:
    """What an export understood, measured and wrote."""

    name: str  # the model is served by it
    directory: Path  # of the bundle
    manifest: Mapping[str, Any]  # bundle.json
    facts: tuple[Fact, ...]
    measures: tuple[Measure, ...] = ()
    refused: tuple[str, ...] = ()  # variants that were left out, a line each
    notes: tuple[str, ...] = ()  # further lines for the person who exports

    def fact(self, name: str) -> Fact:
        """Return a fact by its name.

        Raises:
            KeyError: nothing of this name was understood.
        """
        for fact in self.facts:
            if fact.name == name:
                return fact
        raise KeyError(name)

    def table(self) -> Table:
        """Draw the facts and the measures as one table."""
        table = Table("what", "value", "from", title=self.name, title_justify="left")
        for fact in self.facts:
            table.add_row(fact.name, fact.value, fact.origin)
        table.add_section()
        for measure in self.measures:
            table.add_row(measure.name, f"{measure.value:.1e}", f"at most {measure.bound:.0e}")
        for name, variant in self.manifest["variants"].items():
            size = self.manifest["files"][variant["file"]]["bytes"] / 1e6
            difference = f"{variant['max_abs_difference']:.1e} from {variant['reference']}"
            table.add_row(f"variant {name}", f"{size:.1f} MB, at most {difference}", "measured")
        return table


def facts_of(spec: ModelSpec, more: tuple[Fact, ...] = ()) -> tuple[Fact, ...]:
    """List what a spec says, in the order of the report.

    Args:
        spec: of the model.
        more: facts that a spec has no field for, or whose origin is known; they take the place of
            the spec's of the same name.
    """
    found = {
        "task": spec.task,
        "inputs": ", ".join(spec.inputs),
        "order of the texts": ", ".join(spec.text_order or PREMISE_FIRST) if spec.pair else None,
        "labels": ", ".join(spec.labels) if spec.labels else None,
        "scores": spec.scores or ("softmax" if spec.labels else None),
        "pooling": spec.pooling,
        "length of a vector": {True: "1", False: "as the model gives it", None: None}[
            spec.normalized
        ],
        "metric": spec.metric,
        "prompts": ", ".join(f"{name}: {text!r}" for name, text in (spec.prompts or {}).items()),
        "default prompt": spec.default_prompt,
        "longest text": f"{spec.max_sequence_length} tokens",
    }
    facts = {name: Fact(name, value) for name, value in found.items() if value}
    facts.update({fact.name: fact for fact in more})
    return tuple(facts.values())
