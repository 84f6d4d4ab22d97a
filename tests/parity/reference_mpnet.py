"""MPNet once more, in numpy from Hugging Face's files: shares no code with Keras or the export."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

EPSILON = 1e-5
BUCKETS, FAR = 32, 128
erf = np.frompyfunc(math.erf, 1, 1)


@dataclass(frozen=True, slots=True)
class ReferenceMPNet:
    """Weights by their Hugging Face names, without the prefix `mpnet.`."""

    weights: dict[str, np.ndarray]
    heads: int

    @classmethod
    def read(cls, directory: Path, heads: int) -> "ReferenceMPNet":
        tensors = load_file(directory / "model.safetensors")
        return cls({name.removeprefix("mpnet."): value for name, value in tensors.items()}, heads)

    def embed(self, token_ids: list[int]) -> np.ndarray:
        """Mean over all tokens, L2: float64 [hidden]."""
        mean = self.tokens(token_ids).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def tokens(self, token_ids: list[int]) -> np.ndarray:
        """The last layer's output for one text: float64 [tokens, hidden]."""
        x = self._weight("embeddings.word_embeddings.weight")[token_ids]
        x = x + self._weight("embeddings.position_embeddings.weight")[2 : 2 + len(token_ids)]
        x = self._norm(x, "embeddings.LayerNorm")
        bias = self._position_bias(len(token_ids))
        layer = 0
        while f"encoder.layer.{layer}.output.dense.weight" in self.weights:
            x = self._layer(x, f"encoder.layer.{layer}", bias)
            layer += 1
        return x

    def _position_bias(self, length: int) -> np.ndarray:
        """As the authors wrote it, in fp32: float64 [heads, length, length]."""
        places = np.arange(length)
        relative = places[None, :] - places[:, None]
        half = BUCKETS // 2
        exact = half // 2
        n = np.abs(relative)
        with np.errstate(divide="ignore"):
            logarithm = np.log(n.astype(np.float32) / np.float32(exact))
        scaled = logarithm / np.float32(math.log(FAR / exact)) * np.float32(half - exact)
        large = exact + np.maximum(scaled, 0).astype(np.int64)
        bucket = np.where(relative > 0, half, 0) + np.where(
            n < exact, n, np.minimum(large, half - 1)
        )
        return self._weight("encoder.relative_attention_bias.weight")[bucket].transpose(2, 0, 1)

    def _layer(self, x: np.ndarray, name: str, bias: np.ndarray) -> np.ndarray:
        query, key, value = (
            self._split(self._dense(x, f"{name}.attention.attn.{part}")) for part in "qkv"
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1]) + bias
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        joined = context.transpose(1, 0, 2).reshape(x.shape)
        attended = self._dense(joined, f"{name}.attention.attn.o")
        x = self._norm(x + attended, f"{name}.attention.LayerNorm")
        inner = self._dense(x, f"{name}.intermediate.dense")
        inner = 0.5 * inner * (1 + erf(inner / math.sqrt(2)).astype(np.float64))
        return self._norm(
            x + self._dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )

    def _split(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), self.heads, -1).transpose(1, 0, 2)

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._weight(f"{name}.weight").T + self._weight(f"{name}.bias")

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        return scaled * self._weight(f"{name}.weight") + self._weight(f"{name}.bias")

    def _weight(self, name: str) -> np.ndarray:
        return self.weights[name].astype(np.float64)
