"""What a user says about a model of their own; None means what its preset says."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.spec import Activation, Pooling, Task


@dataclass(frozen=True, slots=True)
class OwnModel:
    """One model to export."""

    preset: str
    """A directory, or a KerasHub handle such as bert_tiny_en_uncased."""
    _: KW_ONLY
    name: Annotated[str, Parameter(name="--name")]
    """The name to serve it by; its bundle's directory has the same."""
    task: Annotated[Task | None, Parameter(name="--task")] = None
    """What the preset is for: a classifier where one was saved, else an embedder."""
    description: str = ""
    """One line for people."""
    labels: Annotated[tuple[str, ...], Parameter(name="--label", negative=())] = ()
    """A classifier's labels in the order of its logits, one flag each."""
    pair: bool = False
    """The classifier takes a premise and a hypothesis, not one text."""
    activation: Activation | None = None
    """The GELU that the weights were trained with: tanh in KerasHub, mostly erf elsewhere."""
    pooling: Pooling | None = None
    """How an embedder makes one vector of many."""
    normalize: bool | None = None
    """Whether an embedding has length 1."""
    max_sequence_length: int | None = None
    """Most tokens of a text, [CLS] and [SEP] included."""
    strip_accents: bool | None = None
    """Whether letters lose their accents before they are looked up."""
    licence: Annotated[Path | None, Parameter(name="--license")] = None
    """A file that states the licence of the weights."""
