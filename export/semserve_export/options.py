"""The options of the export of one model. None means the value that the model itself specifies."""

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
    """Name of the model and of its bundle's directory. By default, the name of the path."""
    task: Annotated[Task | None, Parameter(name="--task")] = None
    """Task of the model. By default, read from the model: classification for a saved classifier,
    otherwise embedding."""
    description: str = ""
    """Description of the model, one line."""
    labels: Annotated[tuple[str, ...], Parameter(name="--label", negative=())] = ()
    """Label of a classifier; repeat the flag for each label, in the order of the logits. By
    default, the labels are their numbers."""
    pair: bool = False
    """The model takes a premise and a hypothesis, in this order. --pair-order sets another
    order."""
    activation: Activation | None = None
    """Activation that the weights were trained with: the tanh form of GELU in KerasHub, usually the
    erf form elsewhere."""
    pooling: Pooling | None = None
    """How an embedder combines the vectors of the tokens to one vector."""
    normalize: bool | None = None
    """Scale embeddings to length 1."""
    max_sequence_length: int | None = None
    """Largest number of tokens of a text, including [CLS] and [SEP]."""
    strip_accents: bool | None = None
    """Remove the accents of letters before tokenisation."""
    split_on_cjk: bool | None = None
    """Make a word of each Chinese character. KerasHub's saved models do not store this setting."""
    scores: Scores | None = None
    """Function that converts outputs to scores, if the model does not specify it. none: serve the
    unchanged outputs."""
    metric: Metric | None = None
    """Similarity of two embeddings. By default, the metric of the model, otherwise cosine."""
    padding: Padding | None = None
    """Side on which the training padded its sequences: the argument `padding` of pad_sequences."""
    truncating: Padding | None = None
    """Side on which the training cut long sequences: the argument `truncating` of pad_sequences,
    whose default is pre."""
    padded_length: int | None = None
    """Length to which the training padded all sequences: the argument `maxlen` of pad_sequences."""
    tokenizer: Annotated[Any, Parameter(name="--tokenizer")] = None
    """Tokenizer, if the model does not contain one: a preset, a Hugging Face directory, a
    tokenizer.json, a word index in JSON, or a vocabulary file with one word in each line."""
    trust: Annotated[bool, Parameter(negative=())] = False
    """Export a file that contains code, such as a Lambda layer. The code runs in the confined
    process that the README describes, and can write any content to the bundle. Use this flag only
    if you trust the author of the file."""
    live: Annotated[Any, Parameter(parse=False)] = None
    """The Keras model in memory, instead of a path."""
    text_order: Annotated[TextOrder | None, Parameter(parse=False)] = None
    """The order of a pair's texts in the model's input; None if the user did not specify it."""
    tower: Annotated[str | None, Parameter(parse=False)] = None
    """Name of the layer that encodes one text, in a model of two texts."""
    prompts: Annotated[Mapping[str, str], Parameter(parse=False)] = field(default_factory=dict)
    """The texts of the prompts, by their names."""
    default_prompt: Annotated[str | None, Parameter(name="--default-prompt")] = None
    """Name of the prompt for requests that name none. An empty name means no default prompt, even
    if the model specifies one."""
    ignore_prompts: bool = False
    """Export a sentence-transformers model without the prompts of its directory."""
    adapter: Path | None = None
    """Directory of an adapter that `train` wrote for this model."""
    allow_tokenizer_differences: Annotated[bool, Parameter(negative=())] = False
    """Export even if the token ids of tokenizer.json differ from KerasHub's without a known
    cause."""
    licence: Annotated[Path | None, Parameter(name="--license")] = None
    """File with the licence of the weights."""

    @property
    def takes_pairs(self) -> bool:
        """Whether the options specify that the model takes pairs of texts."""
        return self.pair or self.text_order is not None

    @property
    def served_name(self) -> str:
        """The `name`, or a name made from the path; empty if the path gives no valid name.

        Blanks and punctuation become dashes, and accents are removed. A path with letters that are
        not Latin gives no valid name.
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
        """The last part of the path, or the name of the model in a handle."""
        if "://" in self.path:
            parts = self.path.rstrip("/").split("/")
            return parts[-2] if parts[-1].isdecimal() and len(parts) > 1 else parts[-1]
        name = Path(self.path).name
        if name in {"", ".."}:
            name = Path(self.path).resolve().name
        return os.fsencode(name).decode("utf-8", "replace")


def options_of_bundle(path: str, manifest: Mapping[str, Any], **more: Any) -> ModelOptions:
    """Return the options with which a bundle was exported.

    Args:
        path: the model that was exported.
        manifest: the manifest of the bundle, with most of the options.
        more: the options that a manifest does not contain.
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
