"""What a user says about a model of their own; None means what its preset says."""

import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.spec import Activation, Pooling, Task


@dataclass(frozen=True, slots=True)
class OwnModel:
    """One model to export."""

    path: str
    """A preset's directory, a .keras file, or a KerasHub handle such as bert_tiny_en_uncased."""
    _: KW_ONLY
    name: Annotated[str, Parameter(name="--name")] = ""
    """The name to serve it by, its bundle's directory too; that of the path where left out."""
    task: Annotated[Task | None, Parameter(name="--task")] = None
    """What the preset is for: a classifier where one was saved, else an embedder."""
    description: str = ""
    """One line for people."""
    labels: Annotated[tuple[str, ...], Parameter(name="--label", negative=())] = ()
    """A classifier's labels in the order of its logits, one flag each; else their numbers."""
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
    split_on_cjk: bool | None = None
    """Whether a Chinese character is a word; what KerasHub saves says yes in any case."""
    tokenizer: str | None = None
    """A preset with the tokenizer, where the model was saved without."""
    ignore_prompts: bool = False
    """Export a sentence-transformers model without the prompt that it puts before every text."""
    adapter: Path | None = None
    """What `train` left of a training that began from this path."""
    licence: Annotated[Path | None, Parameter(name="--license")] = None
    """A file that states the licence of the weights."""

    @property
    def served_name(self) -> str:
        """The name that was given, or one from the path: letters, digits, dots and dashes."""
        name = Path(self.path).name.removesuffix(".keras")
        return self.name or re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")
