"""What a user says about a model of their own; None means what its preset says."""

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from semserve_export.model_spec import (
    Activation,
    Metric,
    Padding,
    Pooling,
    Scores,
    Task,
    TextOrder,
)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """One model to export."""

    path: str = ""
    """A .keras file, the directory of a preset or of a Hugging Face model, or a KerasHub handle,
    such as bert_tiny_en_uncased."""
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
    """The model takes a premise and a hypothesis, not one text; --pair-order says so too."""
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
    scores: Scores | None = None
    """What makes scores of a classifier's outputs, where the model does not tell; none serves them
    as they are."""
    metric: Metric | None = None
    """How two embeddings are compared; cosine where nothing tells otherwise."""
    padding: Padding | None = None
    """The side on which the sequences of the training were padded: `padding` of pad_sequences."""
    truncating: Padding | None = None
    """The side on which its long sequences were cut; pre is the default of pad_sequences."""
    padded_length: int | None = None
    """The length that all its sequences were padded to: `maxlen` of pad_sequences."""
    tokenizer: Annotated[Any, Parameter(name="--tokenizer")] = None
    """What makes token ids of texts, where the model does not hold it: a preset, a Hugging Face
    directory, a tokenizer.json, a word index in JSON, or a vocabulary, one word a line."""
    trust: Annotated[bool, Parameter(negative=())] = False
    """Export a file that holds code, such as a Lambda layer: its code then runs, confined as the
    section on models of strangers in README says, and may make the bundle whatever it likes. Say so
    only of a file whose author you trust."""
    live: Annotated[Any, Parameter(parse=False)] = None
    """The model itself, in place of a path."""
    text_order: Annotated[TextOrder | None, Parameter(parse=False)] = None
    """Which text of a pair comes first in the model's input; None where nobody says it."""
    tower: Annotated[str | None, Parameter(parse=False)] = None
    """The layer that encodes one text, in a model that compares two."""
    prompts: Annotated[Mapping[str, str], Parameter(parse=False)] = field(default_factory=dict)
    """Texts to put before a text, by their names."""
    default_prompt: Annotated[str | None, Parameter(name="--default-prompt")] = None
    """The name of the prompt that is put before a text where a request names none; empty for none,
    whatever the model says."""
    ignore_prompts: bool = False
    """Export a sentence-transformers model without the prompts that its directory names."""
    adapter: Path | None = None
    """What `train` left of a training that began from this path."""
    allow_tokenizer_differences: Annotated[bool, Parameter(negative=())] = False
    """Export even where tokenizer.json reads texts otherwise than KerasHub for no known cause."""
    licence: Annotated[Path | None, Parameter(name="--license")] = None
    """A file that states the licence of the weights."""

    @property
    def takes_pairs(self) -> bool:
        """Whether the caller says that the model takes pairs of texts."""
        return self.pair or self.text_order is not None

    @property
    def served_name(self) -> str:
        """The name that was given, or one from the path; empty where none can be made of it.

        Blanks and signs become dashes, and letters lose their accents. A name in letters that are
        not Latin has no such form.
        """
        if self.name:
            return self.name
        name = unicodedata.normalize("NFKD", self.title.removesuffix(".keras"))
        name = "".join(letter for letter in name if not unicodedata.combining(letter))
        if any(letter.isalnum() and not letter.isascii() for letter in name):
            return ""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")

    @property
    def title(self) -> str:
        """What the path is called, for people: its last part, or a handle's model."""
        if "://" in self.path:
            parts = self.path.rstrip("/").split("/")
            return parts[-2] if parts[-1].isdecimal() and len(parts) > 1 else parts[-1]
        name = Path(self.path).name
        if name in {"", ".."}:
            name = Path(self.path).resolve().name
        return os.fsencode(name).decode("utf-8", "replace")


def options_of_bundle(path: str, manifest: Mapping[str, Any], **more: Any) -> ModelOptions:
    """Return what a bundle's model was asked for with when it was exported.

    Args:
        path: what it was exported from.
        manifest: the bundle's; it says all but what `more` says.
        more: further fields, which a manifest does not keep.
    """
    return ModelOptions(
        path,
        name=manifest["model"],
        task=manifest["task"],
        labels=tuple(manifest["labels"] or ()),
        pair=manifest["pair"],
        text_order=tuple(manifest["text_order"]) if manifest.get("text_order") else None,
        scores=manifest["scores"] if manifest["labels"] or manifest["task"] == "score" else None,
        prompts=manifest.get("prompts") or {},
        default_prompt=manifest.get("default_prompt"),
        activation=manifest["activation"],
        pooling=manifest["pooling"],
        normalize=manifest["normalized"],
        max_sequence_length=manifest["max_sequence_length"],
        allow_tokenizer_differences=True,
        ignore_prompts=True,
        **more,
    )
