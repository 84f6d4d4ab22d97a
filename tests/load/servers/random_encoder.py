"""Writes a directory of a BERT of base size with random weights, as sentence-transformers does.

A script for the export environment: `random_encoder.py PUBLISHED TARGET`. The names of the tensors,
the tokenizer and the pooling are those of PUBLISHED, the directory of a small sentence encoder. How
long a run takes does not depend on the values of the weights.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

HIDDEN, INNER, LAYERS, HEADS = 768, 3072, 12, 12
"""BERT-base (Devlin et al., 2018): 110 million weights."""
DEVIATION = 0.02
"""Standard deviation of the weights, as BERT was initialised."""
COPIED = (
    "1_Pooling", "modules.json", "sentence_bert_config.json", "special_tokens_map.json",
    "tokenizer.json", "tokenizer_config.json", "vocab.txt",
)  # fmt: skip
FIRST_LAYER = "encoder.layer.0."


def write(published: Path, target: Path) -> None:
    """Write the directory."""
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        copy = shutil.copytree if (published / name).is_dir() else shutil.copy
        copy(published / name, target / name)
    config = json.loads((published / "config.json").read_text())
    sizes = {config["hidden_size"]: HIDDEN, config["intermediate_size"]: INNER}
    config |= {
        "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    }  # fmt: skip
    (target / "config.json").write_text(json.dumps(config, indent=1))
    pooling = target / "1_Pooling" / "config.json"
    pooled = json.loads(pooling.read_text()) | {"word_embedding_dimension": HIDDEN}
    pooling.write_text(json.dumps(pooled, indent=1))
    weights = _weights(load_file(published / "model.safetensors"), sizes)
    save_file(weights, target / "model.safetensors")


def _weights(published: dict[str, np.ndarray], sizes: dict[int, int]) -> dict[str, np.ndarray]:
    """Draw every tensor, with the shape that it has at this size."""
    draw = np.random.default_rng(12)
    weights = {}
    for name, tensor in published.items():
        if ".layer." in name and FIRST_LAYER not in name:
            continue
        for layer in range(LAYERS if FIRST_LAYER in name else 1):
            own = name.replace(FIRST_LAYER, f"encoder.layer.{layer}.")
            if tensor.dtype != np.float32:  # the numbers of the positions
                weights[own] = tensor
                continue
            shape = tuple(sizes.get(size, size) for size in tensor.shape)
            around = 1 if name.endswith("LayerNorm.weight") else 0
            weights[own] = draw.normal(around, DEVIATION, shape).astype(np.float32)
    return weights


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
