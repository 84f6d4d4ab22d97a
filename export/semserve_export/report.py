"""The report of an export: the detected settings and the measurements."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from semserve_export.model_spec import PREMISE_FIRST, ModelSpec

Origin = Literal["stated", "found", "assumed"]
"""Origin of a setting: the caller, the model and its files, or an assumption."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One setting of a model."""

    name: str  # the name, such as task, head, pooling or padding
    value: str  # for people
    origin: Origin = "found"


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement, and its limit."""

    name: str
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class Report:
    """The settings, measurements and files of an export."""

    name: str  # the name of the model in the server
    directory: Path  # of the bundle
    manifest: Mapping[str, Any]  # bundle.json
    facts: tuple[Fact, ...]
    measures: tuple[Measure, ...] = ()
    refused: tuple[str, ...] = ()  # omitted variants, each one line
    notes: tuple[str, ...] = ()  # further lines for the user

    def fact(self, name: str) -> Fact:
        """Return a fact by its name.

        Raises:
            KeyError: there is no such setting.
        """
        for fact in self.facts:
            if fact.name == name:
                return fact
        raise KeyError(name)

    def table(self) -> Table:
        """Return a table of the settings and the measurements."""
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
    """List the settings of a spec, in the order of the report.

    Args:
        spec: the description of the model.
        more: settings without a field in the spec, or with
            a known origin; they replace those of the spec with the same name.
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
