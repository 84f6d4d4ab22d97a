"""Directories as transformers and sentence-transformers write them, with every tensor random."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from parity.hugging_face_shapes import (
    ADDED,
    HEADS,
    HIDDEN,
    INNER,
    POSITIONS,
    dense_shapes,
    head_shapes,
    language_shapes,
    norm_shapes,
)
from parity.hugging_face_tokenizers import TOKENIZERS
from parity.reference_encoders import ReferenceEncoder
from safetensors.numpy import save_file
from tokenizers import Tokenizer

CLASS_NAMES = {
    "bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "distilbert": "DistilBert",
    "albert": "Albert", "deberta-v2": "DebertaV2",
}  # fmt: skip
FAMILIES = tuple(CLASS_NAMES)[:5]  # whose graphs are written directly, in seconds
BUCKETS = 6  # of a DeBERTa's relative positions: texts reach beyond


# ---- weights -------------------------------------------------------------------------------------


def draw(shape: tuple[int, ...], name: str, seed: int = 11) -> np.ndarray:
    random = np.random.default_rng([seed, *name.encode()])
    around = 1 if "orm.weight" in name else 0
    return random.normal(around, 0.4, shape).astype(np.float32)


def shapes(family: str, words: int, *, pooler: bool = True, groups: int = 1, inner: int = 1) -> Any:
    """Name every tensor of an encoder, as its class in transformers does, without a prefix."""
    width = 8 if family == "albert" else HIDDEN
    offset = 2 if "roberta" in family else 0
    shapes = {
        "embeddings.word_embeddings.weight": (words, width),
        **norm_shapes("embeddings.LayerNorm", width),
    }
    deberta = family == "deberta-v2"
    if deberta:
        shapes["encoder.rel_embeddings.weight"] = (2 * BUCKETS, HIDDEN)
        shapes |= norm_shapes("encoder.LayerNorm", HIDDEN)
    else:
        shapes["embeddings.position_embeddings.weight"] = (POSITIONS + offset, width)
    if family != "distilbert" and not deberta:
        rows = 1 if "roberta" in family else 2
        shapes["embeddings.token_type_embeddings.weight"] = (rows, width)
    if family == "albert":
        shapes |= dense_shapes("encoder.embedding_hidden_mapping_in", width, HIDDEN)
    reference = ReferenceEncoder(family, {}, HEADS, groups=groups, inner_layers=inner)
    names = reference.names()
    for layer in sorted(set(reference.layer_names())):
        for part in ("query", "key", "value", "mix"):
            shapes |= dense_shapes(layer + names[part], HIDDEN, HIDDEN)
        shapes |= dense_shapes(layer + names["up"], HIDDEN, INNER)
        shapes |= dense_shapes(layer + names["down"], INNER, HIDDEN)
        shapes |= norm_shapes(layer + names["norm"], HIDDEN)
        shapes |= norm_shapes(layer + names["last_norm"], HIDDEN)
    if pooler and family != "distilbert" and not deberta:
        shapes |= dense_shapes("pooler" if family == "albert" else "pooler.dense", HIDDEN, HIDDEN)
    return shapes


def config_of(family: str, words: int) -> dict[str, Any]:
    """Write config.json's content as the family's configuration class does."""
    if family == "distilbert":
        return {
            "model_type": family, "activation": "gelu", "architectures": ["DistilBertModel"],
            "attention_dropout": 0.1, "dim": HIDDEN, "dropout": 0.1, "hidden_dim": INNER,
            "initializer_range": 0.02, "max_position_embeddings": POSITIONS, "n_heads": HEADS,
            "n_layers": 2, "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2,
            "sinusoidal_pos_embds": False, "tie_weights_": True, "torch_dtype": "float32",
            "transformers_version": "4.57.1", "vocab_size": words,
        }  # fmt: skip
    roberta = "roberta" in family
    facts = {
        "model_type": family, "architectures": [f"{CLASS_NAMES[family]}Model"],
        "attention_probs_dropout_prob": 0.1, "classifier_dropout": None, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": HIDDEN, "initializer_range": 0.02,
        "intermediate_size": INNER, "layer_norm_eps": 1e-5 if roberta else 1e-12,
        "max_position_embeddings": POSITIONS + (2 if roberta else 0), "num_attention_heads": HEADS,
        "num_hidden_layers": 2, "pad_token_id": 1 if roberta else 0, "dtype": "float32",
        "position_embedding_type": "absolute", "transformers_version": "5.0.0", "use_cache": True,
        "type_vocab_size": 1 if roberta else 2, "vocab_size": words,
    }  # fmt: skip
    if family == "deberta-v2":
        facts |= {
            "relative_attention": True, "position_biased_input": False, "share_att_key": True,
            "norm_rel_ebd": "layer_norm", "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0,
            "position_buckets": BUCKETS, "max_relative_positions": -1, "layer_norm_eps": 1e-7,
            "pooler_hidden_act": "gelu", "pooler_hidden_size": HIDDEN, "pooler_dropout": 0,
            "legacy": True,
        }  # fmt: skip
    if family == "albert":
        facts |= {
            "embedding_size": 8, "num_hidden_groups": 1, "inner_group_num": 1,
            "hidden_act": "gelu_new", "classifier_dropout_prob": 0.1, "down_scale_factor": 1,
        }  # fmt: skip
        del facts["classifier_dropout"], facts["use_cache"]
    return facts


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_directory(  # noqa: PLR0913 - one directory has many sides
    path: Path,
    family: str = "bert",
    *,
    classes: int = 0,
    language: bool = False,
    untied: bool = False,
    config: dict[str, Any] | None = None,
    tokenizer: Tokenizer | None = None,
    tokenizer_config: dict[str, Any] | None = None,
    pooler: bool = True,
    prefix: str | None = None,
    rename: Any = None,
    dtype: Any = np.float32,
    rows: int | None = None,
) -> ReferenceEncoder:
    """Write a directory as `save_pretrained` does, and return the reference of its model.

    Args:
        path: where.
        family: transformers' model_type.
        classes: of a sequence classifier; 0 for an encoder alone.
        language: whether it is a masked language model.
        untied: whether that has a decoder of its own.
        config: in place of what config.json would say; None takes a key out.
        tokenizer: in place of the family's; written as tokenizer.json.
        tokenizer_config: in place of the least that transformers 5 writes.
        pooler: whether the encoder has one.
        prefix: before the encoder's names; by default as transformers has it.
        rename: a function of each name, last of all.
        dtype: of the stored weights.
        rows: of the table of words.
    """
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer or TOKENIZERS[family]()
    words = rows or tokenizer.get_vocab_size() + ADDED
    facts = config_of(family, words)
    if classes:
        facts["architectures"] = [f"{CLASS_NAMES[family]}ForSequenceClassification"]
        facts["id2label"] = {str(place): f"label {place}" for place in range(classes)}
    if language:
        facts["architectures"] = [f"{CLASS_NAMES[family]}ForMaskedLM"]
        facts["tie_word_embeddings"] = not untied
    facts |= config or {}
    facts = {key: value for key, value in facts.items() if value is not ...}
    groups, inner = facts.get("num_hidden_groups", 1), facts.get("inner_group_num", 1)
    # A classifier of RoBERTa has a head of its own, and its encoder no pooler.
    has_pooler = pooler and not (classes and "roberta" in family)
    drawn = {
        name: draw(shape, name)
        for name, shape in shapes(
            family, words, pooler=has_pooler, groups=groups, inner=inner
        ).items()
    }
    shapes_of_head = head_shapes(family, classes) if classes else {}
    if language:
        shapes_of_head = language_shapes(family, words, untied=untied)
    head = {name: draw(shape, name) for name, shape in shapes_of_head.items()}
    drawn, head = (
        {name: value.astype(dtype) for name, value in tensors.items()} for tensors in (drawn, head)
    )
    if prefix is None:
        prefix = f"{family.replace('xlm-', '').replace('-v2', '')}." if classes or language else ""
    stored = {f"{prefix}{name}": value for name, value in drawn.items()} | head
    if rename:
        stored = {rename(name): value for name, value in stored.items()}
    save_file(stored, path / "model.safetensors", metadata={"format": "pt"})
    write_json(path / "config.json", facts)
    tokenizer.save(str(path / "tokenizer.json"))
    default = {"tokenizer_class": f"{CLASS_NAMES[family]}Tokenizer", "model_max_length": 512}
    write_json(path / "tokenizer_config.json", default | (tokenizer_config or {}))
    return ReferenceEncoder(
        family,
        {name: np.asarray(value, np.float32) for name, value in {**drawn, **head}.items()},
        HEADS,
        epsilon=1e-12 if family == "distilbert" else facts.get("layer_norm_eps", 1e-12),
        activation=facts.get("hidden_act") or facts.get("activation"),
        pad=facts["pad_token_id"],
        groups=groups,
        inner_layers=inner,
    )


OLD = "sentence_transformers.models."
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "SpladePooling": "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling",
}
FLAGS = {
    "cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "weightedmean": "weightedmean_tokens",
    "lasttoken": "lasttoken",
}  # fmt: skip


def write_modules(
    path: Path, *kinds: str, new: bool = False, transformer: str = "", **settings: Any
) -> None:
    """Write modules.json for the modules behind the Transformer, and the settings beside it."""
    modules = [("Transformer", transformer)]
    modules += [(kind, f"{place}_{kind}") for place, kind in enumerate(kinds, 1)]
    listed = [
        {
            "idx": place, "name": str(place), "path": where,
            "type": NEW[kind] if new else OLD + kind,
        }
        for place, (kind, where) in enumerate(modules)
    ]  # fmt: skip
    write_json(path / "modules.json", listed)
    versions = {"sentence_transformers": "5.4.0", "transformers": "5.0.0", "pytorch": "2.9.0"}
    write_json(path / "config_sentence_transformers.json", {"__version__": versions, **settings})
    write_json(
        path / transformer / "sentence_bert_config.json",
        {"max_seq_length": 32, "do_lower_case": False},
    )


def write_splade(path: Path, *, new: bool, **settings: Any) -> None:
    """Write a sparse encoder's modules.json, and all that it names but the encoder."""
    old = "sentence_transformers.sparse_encoder.models."
    kinds = {
        "": NEW["Transformer"] if new else f"{old}MLMTransformer",
        "1_SpladePooling": NEW["SpladePooling"] if new else f"{old}SpladePooling",
    }
    listed = [
        {"idx": place, "name": str(place), "path": where, "type": kind}
        for place, (where, kind) in enumerate(kinds.items())
    ]
    write_json(path / "modules.json", listed)
    width = "embedding_dimension" if new else "word_embedding_dimension"
    output = {"pooling_strategy": "max", "activation_function": "relu", width: None}
    write_json(path / "1_SpladePooling" / "config.json", output | settings)
    of_transformer: dict[str, Any] = {"max_seq_length": 32, "do_lower_case": False}
    if new:
        of_transformer |= {
            "transformer_task": "fill-mask", "module_output_name": "token_embeddings",
            "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
        }  # fmt: skip
    write_json(path / "sentence_bert_config.json", of_transformer)
    write_json(
        path / "config_sentence_transformers.json",
        {
            "model_type": "SparseEncoder", "prompts": {"query": "", "document": ""},
            "default_prompt_name": None, "similarity_fn_name": "dot",
        },
    )  # fmt: skip


def write_pooling(path: Path, *modes: str, place: int = 1, new: bool = False) -> None:
    if new:
        output = modes[0] if len(modes) == 1 else list(modes)
        content = {"embedding_dimension": HIDDEN, "pooling_mode": output, "include_prompt": True}
    else:
        flags = {f"pooling_mode_{flag}": mode in modes for mode, flag in FLAGS.items()}
        content = {"word_embedding_dimension": HIDDEN, **flags, "include_prompt": True}
    write_json(path / f"{place}_Pooling" / "config.json", content)


def write_dense(
    path: Path, inputs: int, outputs: int, activation: str, *, bias: bool = True, place: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Write a Dense module, and return its kernel [outputs, inputs] and bias."""
    where = path / f"{place}_Dense"
    facts = {"in_features": inputs, "out_features": outputs, "bias": bias}
    write_json(
        where / "config.json", {**facts, "activation_function": f"torch.nn.modules.{activation}"}
    )
    tensors = {"linear.weight": draw((outputs, inputs), f"dense {place}")}
    if bias:
        tensors["linear.bias"] = draw((outputs,), f"bias {place}")
    save_file(tensors, where / "model.safetensors")
    return tensors["linear.weight"], tensors.get("linear.bias", np.zeros(outputs, np.float32))
