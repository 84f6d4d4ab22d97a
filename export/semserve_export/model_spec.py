"""The description of a model, as in the manifest of its bundle."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Task = Literal["embedding", "classification", "score", "sparse_embedding"]
"""`score` is one number for a text or a pair; `sparse_embedding` is one weight for each token
id."""
Activation = Literal["erf", "tanh", "relu", "silu"]
"""Activation of the feed-forward blocks: GELU by the error function, GELU by tanh, and two
others."""
Pooling = Literal["mean", "cls", "max", "pooled", "last", "mean_sqrt_len", "weightedmean"]
Scores = Literal["softmax", "sigmoid", "none"]
"""Function from logits to scores; `none` keeps the logits, for example of a regression."""
Metric = Literal["cosine", "dot", "euclidean", "manhattan"]
Padding = Literal["pre", "post"]
"""A side of a sequence, by its name in Keras's `pad_sequences`."""
Variant = Literal["fused", "int8", "fp16"]
PairTruncation = Literal["longest_first", "round_robin", "waterfall"]
"""Which text of a pair in one sequence is cut; the server's `runtime/tokenizer.py` says how."""
TextOrder = tuple[str, str]
PREMISE_FIRST: TextOrder = ("premise", "hypothesis")
HYPOTHESIS_FIRST: TextOrder = ("hypothesis", "premise")
INPUTS = ("token_ids", "segment_ids", "padding_mask")
INPUTS_WITHOUT_SEGMENTS = ("token_ids", "padding_mask")
SIDES = ("left", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The properties of a model that are not in its weights."""

    name: str
    description: str  # one line
    task: Task
    activation: Activation | None = None  # None if the model has no GELU
    max_sequence_length: int  # tokens, including [CLS] and [SEP]
    pooling: str | None = None  # a `Pooling`, or several joined by +; None for a classifier
    normalized: bool | None = None  # whether the graph ends in L2; None for a classifier
    metric: Metric | None = None  # None for a classifier
    labels: tuple[str, ...] | None = None  # None for an embedder
    scores: Scores | None = None  # of logits, in the server; softmax where a classifier says None
    pair: bool = False  # whether it takes a premise and a hypothesis, not one text
    text_order: TextOrder | None = None  # which stands first in its input; the premise where None
    pair_truncation: PairTruncation = "longest_first"
    prompts: Mapping[str, str] | None = None  # texts that may be put before a text, by name
    default_prompt: str | None = None  # the name of the prompt of requests that name none
    inputs: tuple[str, ...] = INPUTS  # of the graph
    sides: tuple[str, str] | None = None  # ("left", "right") if each side has its own encoder
    separate: bool = False  # whether the two texts of a pair are separate inputs
    truncation: Literal["end", "start"] = "end"  # the side at which a long text is truncated

    @property
    def gelu(self) -> Activation:
        """The form of an encoder's GELU; by default that of KerasHub."""
        return self.activation or "tanh"

    @property
    def output(self) -> str:
        """The name of the graph's output."""
        return OUTPUTS.get(self.task, "logits")

    @property
    def hypothesis_first(self) -> bool:
        """Whether the hypothesis of a pair precedes the premise in the model's input."""
        return self.text_order == HYPOTHESIS_FIRST


OUTPUTS: Mapping[Task, str] = {"embedding": "embedding", "sparse_embedding": "weights"}
