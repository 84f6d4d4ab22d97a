"""The names of each family's tensors in transformers, and the tensors that are not needed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

WRAPPERS = re.compile(r"^(_orig_mod\.|module\.|model\.|auto_model\.|\d+\.)+")
"""Prefixes of names by torch.compile, DataParallel and sentence-transformers."""
BUFFERS = re.compile(r"(^|\.)embeddings\.(position_ids|token_type_ids)$")
"""Counts that old releases of transformers stored beside the weights."""
LANGUAGE_HEADS = re.compile(
    r"^(cls\.(predictions|seq_relationship)|lm_head|predictions|sop_classifier"
    r"|lm_predictions|mask_predictions"
    r"|vocab_(transform|layer_norm|projector))\."
)
"""Heads of pre-training (words, order of sentences), which embedders and classifiers do not use."""
CLASSIFIER_HEADS = re.compile(r"^(classifier|pre_classifier|pooler)\.")


@dataclass(frozen=True, slots=True)
class LayerNames:
    """The parts of a layer, by their names relative to the layer."""

    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    up: str
    down: str
    norm: str


@dataclass(frozen=True, slots=True)
class LanguageHeadNames:
    """The parts of the head of a masked language model."""

    transform: str
    norm: str
    decoder: str  # has a separate weight only if it is not the table of words
    bias: str | None  # if it is not only in the decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyNames:
    """The names of a family's tensors, without common prefixes."""

    prefix: str  # prefix of the encoder's names, in a model with a head
    layer: str  # a format of the group, the layer in it, or the layer's index
    parts: LayerNames
    pooler: str | None  # of the encoder
    head: tuple[str, ...]  # of the classifier: its pooler, if it has its own, and its logits
    language_head: LanguageHeadNames | None = None  # if it can be exported


BERT_LAYER = LayerNames(
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
ROBERTA = FamilyNames(
    prefix="roberta.",
    layer="encoder.layer.{place}",
    parts=BERT_LAYER,
    pooler="pooler.dense",
    head=("classifier.dense", "classifier.out_proj"),
    language_head=LanguageHeadNames(
        "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"
    ),
)
NAMES: Mapping[str, FamilyNames] = MappingProxyType(
    {
        "bert": FamilyNames(
            prefix="bert.",
            layer="encoder.layer.{place}",
            parts=BERT_LAYER,
            pooler="pooler.dense",
            head=("classifier",),
            language_head=LanguageHeadNames(
                "cls.predictions.transform.dense",
                "cls.predictions.transform.LayerNorm",
                "cls.predictions.decoder",
                "cls.predictions.bias",
            ),
        ),
        "roberta": ROBERTA,
        "xlm-roberta": ROBERTA,
        "distilbert": FamilyNames(
            prefix="distilbert.",
            layer="transformer.layer.{place}",
            parts=LayerNames(
                "attention.q_lin",
                "attention.k_lin",
                "attention.v_lin",
                "attention.out_lin",
                "sa_layer_norm",
                "ffn.lin1",
                "ffn.lin2",
                "output_layer_norm",
            ),
            pooler=None,
            head=("pre_classifier", "classifier"),
            language_head=LanguageHeadNames(
                "vocab_transform", "vocab_layer_norm", "vocab_projector", None
            ),
        ),
        "deberta-v2": FamilyNames(
            prefix="deberta.",
            layer="encoder.layer.{place}",
            parts=LayerNames(
                "attention.self.query_proj",
                "attention.self.key_proj",
                "attention.self.value_proj",
                "attention.output.dense",
                "attention.output.LayerNorm",
                "intermediate.dense",
                "output.dense",
                "output.LayerNorm",
            ),
            pooler=None,
            head=("pooler.dense", "classifier"),
        ),
        "albert": FamilyNames(
            prefix="albert.",
            layer="encoder.albert_layer_groups.{group}.albert_layers.{inner}",
            parts=LayerNames(
                "attention.query",
                "attention.key",
                "attention.value",
                "attention.dense",
                "attention.LayerNorm",
                "ffn",
                "ffn_output",
                "full_layer_layer_norm",
            ),
            pooler="pooler",
            head=("classifier",),
            language_head=LanguageHeadNames(
                "predictions.dense",
                "predictions.LayerNorm",
                "predictions.decoder",
                "predictions.bias",
            ),
        ),
    }
)
"""By `model_type`."""


def canonical(name: str, family: FamilyNames) -> str:
    """Return a tensor's name without the prefixes of wrappers and heads.

    Norms of the first BERTs are named gamma and beta instead of weight and bias.
    """
    plain = WRAPPERS.sub("", name).removeprefix(family.prefix)
    return re.sub(
        r"LayerNorm\.(gamma|beta)$",
        lambda found: "LayerNorm." + {"gamma": "weight", "beta": "bias"}[found[1]],
        plain,
    )
