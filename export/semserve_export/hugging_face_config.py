"""What a transformers config.json says of an encoder: every key is honoured, without effect, or refused.

The defaults are those of transformers' configuration classes, which hold where a key is absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.spec import Activation

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
"""By `model_type`: the keys that say how the model is built, with the values where they are absent."""
FIXED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "position_embedding_type": ("absolute", None),
        "is_decoder": (False, None),
        "add_cross_attention": (False, None),
        "is_encoder_decoder": (False, None),
        "cross_attention_hidden_size": (None,),
        "pruned_heads": ({}, [], None),
        "quantization_config": (None, {}),
        "auto_map": (None, {}),
        "adapters": (None, {}, []),
        "use_cross_attention": (False, None),
    }
)
"""Keys with the values that can be exported; any other changes what is computed."""
WITHOUT_EFFECT = frozenset(
    "_name_or_path name_or_path _attn_implementation _attn_implementation_internal"
    " _attn_implementation_autoset attn_implementation architectures model_type transformers_version"
    " torch_dtype dtype torchscript use_bfloat16 xla_device tf_legacy_loss return_dict use_cache"
    " output_attentions output_hidden_states output_past gradient_checkpointing remove_invalid_values"
    " chunk_size_feed_forward initializer_range initializer_factor tie_word_embeddings"
    " tie_encoder_decoder tie_weights_ tokenizer_class prefix language name finetuning_task"
    " task_specific_params label2id id2label num_labels _num_labels problem_type function_to_apply"
    " sentence_transformers sbert_ce_default_activation_function"
    # Dropout, which acts in training alone.
    " attention_probs_dropout_prob hidden_dropout_prob classifier_dropout classifier_dropout_prob"
    " dropout attention_dropout qa_dropout seq_classif_dropout"
    # Ids that the tokenizer says again, and what generates text.
    " bos_token_id eos_token_id sep_token_id cls_token_id mask_token_id unk_token_id"
    " decoder_start_token_id max_length min_length do_sample early_stopping num_beams"
    " num_beam_groups diversity_penalty temperature top_k top_p typical_p repetition_penalty"
    " length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids"
    " num_return_sequences output_scores return_dict_in_generate forced_bos_token_id"
    " forced_eos_token_id exponential_decay_length_penalty suppress_tokens begin_suppress_tokens"
    # In files of BERT's and ALBERT's first releases; transformers reads none of them.
    " directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers"
    " pooler_size_per_head pooler_type net_structure_type gap_size num_memory_blocks"
    " layers_to_keep down_scale_factor"
    # DistilBERT: the table is stored, however it was first filled; its epsilon is 1e-12.
    " sinusoidal_pos_embds tie_weights".split()
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """How an encoder is built."""

    model_type: str
    vocabulary: int  # rows of the table of tokens
    hidden: int  # width of a token's vector
    width: int  # of an embedding; `hidden` but in ALBERT
    layers: int
    heads: int
    inner: int  # width of the feed-forward blocks
    activation: Activation
    epsilon: float  # of every layer normalisation
    positions: int  # rows of the table of positions
    first_position: int  # the row of a text's first token
    segments: int  # rows of the table of segments; 0 where the family has none
    groups: int  # of layers that share weights
    layers_in_group: int

    @property
    def max_sequence_length(self) -> int:
        """Most tokens of a text that have a position."""
        return self.positions - self.first_position


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Read how the encoder is built.

    Raises:
        WeightsError: a key has a value that cannot be exported, or is not known to be without
            effect; the message names it.
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
        # RoBERTa numbers the tokens of a text from the row behind the padding's on.
        first_position=_count(facts, "pad_token_id", least=0) + 1 if roberta else 0,
        segments=0 if kind == "distilbert" else _count(facts, "type_vocab_size"),
        groups=groups,
        layers_in_group=_count({"inner_group_num": 1, **facts}, "inner_group_num"),
    )
    if architecture.max_sequence_length < 1:
        raise WeightsError("config.json: max_position_embeddings leaves no position for a token")
    return architecture


def _refuse_unknown(config: Mapping[str, Any], honoured: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if key in FIXED:
            if value not in FIXED[key]:
                raise WeightsError(f"config.json: {key} {value!r} cannot be exported")
        elif key == "layer_norm_eps" or key in honoured or key in WITHOUT_EFFECT:
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
