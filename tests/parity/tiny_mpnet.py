"""A tiny MPNet as Hugging Face's files would have it, with weights so large that mistakes show."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = [
    *("<s>", "<pad>", "</s>", "<unk>", "[UNK]"),
    *("the", "cat", "sat", "mat", "hello", "world", "cafe", "今", "日"),
    *".,!?'[]<>/-",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    "<mask>",
]
HIDDEN, HEADS, INNER, LAYERS, POSITIONS, BUCKETS = 16, 2, 32, 2, 200, 32


def write_tiny_mpnet(directory: Path, *, prefix: str = "") -> None:
    """Write config.json, model.safetensors and vocab.txt."""
    config = {
        "model_type": "mpnet",
        "vocab_size": len(VOCABULARY),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS + 2,
        "relative_attention_num_buckets": BUCKETS,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    random = np.random.default_rng(11)
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS + 2, HIDDEN),
        "encoder.relative_attention_bias.weight": (BUCKETS, HEADS),
        **_norm("embeddings.LayerNorm"),
    }
    for place in range(LAYERS):
        layer = f"encoder.layer.{place}"
        for part in "qkvo":
            shapes |= _dense(f"{layer}.attention.attn.{part}", HIDDEN, HIDDEN)
        shapes |= _dense(f"{layer}.intermediate.dense", HIDDEN, INNER)
        shapes |= _dense(f"{layer}.output.dense", INNER, HIDDEN)
        shapes |= _norm(f"{layer}.attention.LayerNorm") | _norm(f"{layer}.output.LayerNorm")
    tensors = {
        f"{prefix}{name}": random.normal(
            1 if name.endswith("LayerNorm.weight") else 0, 0.4, shape
        ).astype(np.float32)
        for name, shape in shapes.items()
    }
    # So that one bucket for another changes what comes out.
    tensors[f"{prefix}encoder.relative_attention_bias.weight"] *= 5
    save_file(tensors, directory / "model.safetensors")


def _dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}
