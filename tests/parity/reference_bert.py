"""BERT once more, in numpy from Hugging Face's files: shares no code with Keras or the export."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

EPSILON = 1e-12
erf = np.frompyfunc(math.erf, 1, 1)


@dataclass(frozen=True, slots=True)
class ReferenceBert:
    """Weights by their Hugging Face names, without the prefix `bert.`."""

    weights: dict[str, np.ndarray]
    heads: int
    exact: bool = True  # erf GELU; the tanh form where False

    @classmethod
    def read(cls, directory: Path, heads: int, *, exact: bool = True) -> "ReferenceBert":
        tensors = load_file(directory / "model.safetensors")
        named = {name.removeprefix("bert."): value for name, value in tensors.items()}
        return cls(named, heads, exact)

    def embed(self, token_ids: list[int]) -> np.ndarray:
        """Mean over all tokens, L2: float64 [hidden]."""
        mean = self.tokens(token_ids, [0] * len(token_ids)).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def classify(self, token_ids: list[int], segment_ids: list[int]) -> np.ndarray:
        """Logits of `BertForSequenceClassification`: float64 [classes]."""
        first = self.tokens(token_ids, segment_ids)[0]
        pooled = np.tanh(self._dense(first, "pooler.dense"))
        return self._dense(pooled, "classifier")

    def tokens(self, token_ids: list[int], segment_ids: list[int]) -> np.ndarray:
        """The last layer's output for one text: float64 [tokens, hidden]."""
        x = self._weight("embeddings.word_embeddings.weight")[token_ids]
        x = x + self._weight("embeddings.position_embeddings.weight")[: len(token_ids)]
        x = x + self._weight("embeddings.token_type_embeddings.weight")[segment_ids]
        x = self._norm(x, "embeddings.LayerNorm")
        layer = 0
        while f"encoder.layer.{layer}.output.dense.weight" in self.weights:
            x = self._layer(x, f"encoder.layer.{layer}")
            layer += 1
        return x

    def _layer(self, x: np.ndarray, name: str) -> np.ndarray:
        query, key, value = (
            self._split(self._dense(x, f"{name}.attention.self.{part}"))
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        joined = context.transpose(1, 0, 2).reshape(x.shape)
        attended = self._dense(joined, f"{name}.attention.output.dense")
        x = self._norm(x + attended, f"{name}.attention.output.LayerNorm")
        inner = self._gelu(self._dense(x, f"{name}.intermediate.dense"))
        return self._norm(
            x + self._dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )

    def _gelu(self, x: np.ndarray) -> np.ndarray:
        if self.exact:
            return 0.5 * x * (1 + erf(x / math.sqrt(2)).astype(np.float64))
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

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
