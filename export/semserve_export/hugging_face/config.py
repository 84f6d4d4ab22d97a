"""Reads the description of an encoder from a transformers config.json.

Every key is supported, known to have no effect, or refused by its name. An absent key has the
default of transformers' configuration classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.hugging_face.keys import DEBERTA_DEFAULTS, DEBERTA_V3, FIXED, WITHOUT_EFFECT
from semserve_export.model_spec import Activation

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "gelu": "erf",
        "gelu_python": "erf",
        "gelu_new": "tanh",
        "gelu_fast": "tanh",
        "gelu_accurate": "tanh",
        "gelu_pytorch_tanh": "tanh",
        "relu": "relu",
        "silu": "silu",
        "swish": "silu",
    }
)
SIZES = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bert": SIZES,
        "roberta": {**SIZES, "vocab_size": 50265, "pad_token_id": 1},
        "xlm-roberta": {**SIZES, "pad_token_id": 1},
        "distilbert": {
            "vocab_size": 30522,
            "dim": 768,
            "n_layers": 6,
            "n_heads": 12,
            "hidden_dim": 3072,
            "activation": "gelu",
            "max_position_embeddings": 512,
            "pad_token_id": 0,
        },
        "deberta-v2": {
            **SIZES,
            "vocab_size": 128100,
            "hidden_size": 1536,
            "num_hidden_layers": 24,
            "num_attention_heads": 24,
            "intermediate_size": 6144,
            "type_vocab_size": 0,
            "layer_norm_eps": 1e-7,
            "position_buckets": -1,
            "max_relative_positions": -1,
            **DEBERTA_DEFAULTS,
        },
        "albert": {
            **SIZES,
            "vocab_size": 30000,
            "hidden_size": 4096,
            "num_attention_heads": 64,
            "intermediate_size": 16384,
            "hidden_act": "gelu_new",
            "embedding_size": 128,
            "num_hidden_groups": 1,
            "inner_group_num": 1,
        },
    }
)
"""By `model_type`: the keys of the architecture, with their default values."""


WITHOUT_SEGMENTS = {"distilbert", "deberta-v2"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """The architecture of an encoder."""

    model_type: str
    vocabulary: int  # rows of the table of tokens
    hidden: int  # width of a token's vector
    width: int  # of an embedding; equals `hidden` except in ALBERT
    layers: int
    heads: int
    inner: int  # width of the feed-forward blocks
    activation: Activation
    epsilon: float  # of every layer normalisation
    positions: int  # rows of the table of positions
    first_position: int  # the row of the first token of a text
    segments: int  # rows of the table of segments; 0 if the family has none
    buckets: int  # of relative positions, in each direction; 0 if positions are absolute
    groups: int  # of layers that share weights
    layers_in_group: int

    @property
    def max_sequence_length(self) -> int:
        """Largest number of tokens of a text that have a position."""
        return self.positions - self.first_position


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Read the architecture of the encoder.

    Raises:
        WeightsError: a key has an unsupported value, or is unknown; the message names it.
    """
    kind = str(config.get("model_type", ""))
    defaults = DEFAULTS[kind]
    _refuse_unknown(config, defaults)
    facts = {**defaults, **{key: config[key] for key in defaults if config.get(key) is not None}}
    hidden, heads = (
        _count(facts, "dim" if kind == "distilbert" else "hidden_size"),
        _count(facts, "n_heads" if kind == "distilbert" else "num_attention_heads"),
    )
    if hidden % heads:
        raise WeightsError(f"config.json: {hidden} hidden units cannot be shared by {heads} heads")
    roberta = kind in {"roberta", "xlm-roberta"}
    layers = _count(facts, "n_layers" if kind == "distilbert" else "num_hidden_layers")
    groups = _count({"num_hidden_groups": 1, **facts}, "num_hidden_groups")
    if layers % groups:
        raise WeightsError(
            f"config.json: num_hidden_groups {groups} does not divide num_hidden_layers {layers}"
        )
    architecture = Architecture(
        model_type=kind,
        vocabulary=_count(facts, "vocab_size"),
        hidden=hidden,
        width=_count(facts, "embedding_size") if kind == "albert" else hidden,
        layers=layers,
        heads=heads,
        inner=_count(facts, "hidden_dim" if kind == "distilbert" else "intermediate_size"),
        activation=_activation(facts, "activation" if kind == "distilbert" else "hidden_act"),
        epsilon=_epsilon(facts),
        positions=_count(facts, "max_position_embeddings"),
        # RoBERTa numbers the tokens of a text from the row after the padding's.
        first_position=_count(facts, "pad_token_id", least=0) + 1 if roberta else 0,
        segments=0 if kind in WITHOUT_SEGMENTS else _count(facts, "type_vocab_size"),
        buckets=_buckets(facts) if kind == "deberta-v2" else 0,
        groups=groups,
        layers_in_group=_count({"inner_group_num": 1, **facts}, "inner_group_num"),
    )
    if architecture.max_sequence_length < 1:
        raise WeightsError("config.json: max_position_embeddings leaves no position for a token")
    return architecture


def _refuse_unknown(config: Mapping[str, Any], supported: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if key in FIXED:
            if value not in FIXED[key]:
                raise WeightsError(f"config.json: {key} {value!r} cannot be exported")
        elif key == "layer_norm_eps" or key in supported or key in WITHOUT_EFFECT:
            continue
        elif value is not None and value not in ({}, []):
            raise WeightsError(
                f"config.json: {key} is not known for {config.get('model_type')} and may change"
                " what is computed; remove it if it does not"
            )


def _count(facts: Mapping[str, Any], key: str, least: int = 1) -> int:
    value = facts[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise WeightsError(f"config.json: {key} is {value!r}, and must be a number from {least} on")
    return value


def _buckets(facts: Mapping[str, Any]) -> int:
    """Check that a DeBERTa is one of version 3, as in KerasHub, and return its buckets."""
    for key, known in DEBERTA_V3.items():
        if facts[key] not in known:
            raise WeightsError(
                f"config.json: {key} {facts[key]!r} is none of a DeBERTa-v3: {known[0]!r}"
            )
    hidden, positions = facts["hidden_size"], facts["max_position_embeddings"]
    if facts["pooler_hidden_size"] not in (None, hidden):
        raise WeightsError("config.json: pooler_hidden_size is not hidden_size")
    if facts["max_relative_positions"] not in (-1, 0, positions):
        raise WeightsError("config.json: max_relative_positions is not max_position_embeddings")
    return _count(facts, "position_buckets")


def _activation(facts: Mapping[str, Any], key: str) -> Activation:
    name = facts[key]
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise WeightsError(f"config.json: {key} {name!r} cannot be exported; there are {known}")
    return ACTIVATIONS[name]


def _epsilon(facts: Mapping[str, Any]) -> float:
    value = facts.get("layer_norm_eps", 1e-12)
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise WeightsError(f"config.json: layer_norm_eps is {value!r}")
    return float(value)
