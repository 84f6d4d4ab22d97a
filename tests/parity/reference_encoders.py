"""Five families of encoders in numpy, from their publications: they share no code with the export.

BERT (arXiv 1810.04805), RoBERTa (1907.11692) and XLM-R (1911.02116), DistilBERT (1910.01108),
ALBERT (1909.11942), with the names that transformers gives their tensors. All is computed in
float64.
"""

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
erf = np.vectorize(math.erf, otypes=[float])

BERT = {
    "layer": "encoder.layer.{}.", "query": "attention.self.query", "key": "attention.self.key",
    "value": "attention.self.value", "mix": "attention.output.dense",
    "norm": "attention.output.LayerNorm", "up": "intermediate.dense", "down": "output.dense",
    "last_norm": "output.LayerNorm",
}  # fmt: skip
DISTILBERT = {
    "layer": "transformer.layer.{}.", "query": "attention.q_lin", "key": "attention.k_lin",
    "value": "attention.v_lin", "mix": "attention.out_lin", "norm": "sa_layer_norm",
    "up": "ffn.lin1", "down": "ffn.lin2", "last_norm": "output_layer_norm",
}  # fmt: skip
ALBERT = {
    "layer": "encoder.albert_layer_groups.{}.", "query": "attention.query", "key": "attention.key",
    "value": "attention.value", "mix": "attention.dense", "norm": "attention.LayerNorm",
    "up": "ffn", "down": "ffn_output", "last_norm": "full_layer_layer_norm",
}  # fmt: skip


LANGUAGE_HEADS = {
    "bert": (
        "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
        "cls.predictions.decoder", "cls.predictions.bias",
    ),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
    "xlm-roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
    "distilbert": (
        "vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias",
    ),
    "albert": (
        "predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions.bias",
    ),
}  # fmt: skip
"""The dense layer, norm, decoder and bias of a masked language model, by transformers' names."""


DEBERTA = {
    **BERT, "query": "attention.self.query_proj", "key": "attention.self.key_proj",
    "value": "attention.self.value_proj",
}  # fmt: skip


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_new(x: Array) -> Array:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {"gelu": gelu, "gelu_new": gelu_new, "relu": relu, "silu": silu, "tanh": np.tanh,
               "sigmoid": sigmoid, "linear": lambda x: x}  # fmt: skip


@dataclass(frozen=True)
class ReferenceEncoder:
    """One model: the weights by their names without a prefix, and what config.json says."""

    family: str
    weights: dict[str, Array]
    heads: int
    epsilon: float = 1e-12
    activation: str = "gelu"
    pad: int = 0
    groups: int = 1
    inner_layers: int = 1
    layers: int = 2
    positions: int = 48

    def tokens(self, ids: list[int], segments: list[int]) -> Array:
        """The vectors of one text's tokens, unpadded: [tokens, hidden]."""
        if self.family == "deberta-v2":
            x = self.norm(self.table("word")[ids], "embeddings.LayerNorm")
            for name in self.layer_names():
                x = self.layer(x, name)
            return x
        first = self.pad + 1 if self.family in {"roberta", "xlm-roberta"} else 0
        x = self.table("word")[ids] + self.table("position")[first : first + len(ids)]
        if self.family != "distilbert":
            x = x + self.table("token_type")[segments]
        x = self.norm(x, "embeddings.LayerNorm")
        if self.family == "albert":
            x = self.dense(x, "encoder.embedding_hidden_mapping_in")
        for name in self.layer_names():
            x = self.layer(x, name)
        return x

    def logits(self, ids: list[int], segments: list[int]) -> Array:
        """What transformers' sequence classifier of the family gives: [classes]."""
        first = self.tokens(ids, segments)[0]
        if self.family in {"roberta", "xlm-roberta"}:
            return self.dense(np.tanh(self.dense(first, "classifier.dense")), "classifier.out_proj")
        if self.family == "deberta-v2":
            return self.dense(gelu(self.dense(first, "pooler.dense")), "classifier")
        if self.family == "distilbert":
            return self.dense(relu(self.dense(first, "pre_classifier")), "classifier")
        return self.dense(self.pooled(first), "classifier")

    def language_logits(self, ids: list[int], segments: list[int]) -> Array:
        """What transformers' masked language model of the family gives: [tokens, vocabulary]."""
        dense, norm, decoder, bias = LANGUAGE_HEADS[self.family]
        activation = gelu if "roberta" in self.family else ACTIVATIONS[self.activation]
        x = self.norm(activation(self.dense(self.tokens(ids, segments), dense)), norm)
        words = self.weights.get(f"{decoder}.weight", self.table("word")).astype(float)
        return x @ words.T + self.weights[bias]

    def sparse(
        self, ids: list[int], segments: list[int], pooling: str = "max", logarithms: int = 1
    ) -> Array:
        """What SPLADE makes of the logits (arXiv 2109.10086, 2504.14839): [vocabulary]."""
        weights = relu(self.language_logits(ids, segments))
        for _ in range(logarithms):
            weights = np.log1p(weights)
        return weights.max(0) if pooling == "max" else weights.sum(0)

    def pooled(self, first: Array) -> Array:
        return np.tanh(self.dense(first, "pooler" if self.family == "albert" else "pooler.dense"))

    def layer_names(self) -> list[str]:
        if self.family != "albert":
            return [self.names()["layer"].format(place) for place in range(self.layers)]
        return [
            f"{ALBERT['layer'].format(place * self.groups // self.layers)}albert_layers.{inner}."
            for place in range(self.layers)
            for inner in range(self.inner_layers)
        ]

    def names(self) -> dict[str, str]:
        known = {"distilbert": DISTILBERT, "albert": ALBERT, "deberta-v2": DEBERTA}
        return known.get(self.family, BERT)

    def layer(self, x: Array, name: str) -> Array:
        parts = {part: name + tail for part, tail in self.names().items()}
        query, key, value = (
            self.by_head(self.dense(x, parts[part])) for part in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", query, key)
        if self.family == "deberta-v2":
            scores = (scores + self.relative_scores(query, key, parts)) / math.sqrt(3)
        scores = scores / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", shares, value).reshape(x.shape)
        x = self.norm(x + self.dense(mixed, parts["mix"]), parts["norm"])
        inner = ACTIVATIONS[self.activation](self.dense(x, parts["up"]))
        return self.norm(x + self.dense(inner, parts["down"]), parts["last_norm"])

    def relative_scores(self, query: Array, key: Array, parts: dict[str, str]) -> Array:
        """Content to position and position to content (DeBERTa, 2006.03654; v3, 2111.09543)."""
        table = self.weights["encoder.rel_embeddings.weight"].astype(float)
        table, buckets = self.norm(table, "encoder.LayerNorm"), len(table) // 2
        keys, queries = (self.by_head(self.dense(table, parts[part])) for part in ("key", "query"))
        scores = np.zeros((query.shape[1], len(query), len(key)))
        for i, j in np.ndindex(len(query), len(key)):
            place = bucket_of(i - j, buckets, self.positions)
            forth = min(max(buckets + place, 0), 2 * buckets - 1)
            scores[:, i, j] = (query[i] * keys[forth]).sum(-1) + (key[j] * queries[forth]).sum(-1)
        return scores

    def by_head(self, x: Array) -> Array:
        return x.reshape(len(x), self.heads, -1)

    def table(self, name: str) -> Array:
        return self.weights[f"embeddings.{name}_embeddings.weight"].astype(float)

    def dense(self, x: Array, name: str) -> Array:
        kernel, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return x @ kernel.astype(float).T + bias.astype(float)

    def norm(self, x: Array, name: str) -> Array:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + self.epsilon)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def bucket_of(distance: int, buckets: int, positions: int) -> int:
    """Near positions have a bucket each, those further off share one by the logarithm."""
    middle = buckets // 2
    if abs(distance) <= middle:
        return distance
    share = math.log(abs(distance) / middle) / math.log((positions - 1) / middle)
    return int(math.copysign(math.ceil(share * (middle - 1)) + middle, distance))


def pool(tokens: Array, mode: str) -> Array:
    """One vector of a text's token vectors, by sentence-transformers' name of the mode."""
    count = len(tokens)
    places = np.arange(1, count + 1)[:, None]
    return {
        "cls": lambda: tokens[0],
        "max": lambda: tokens.max(0),
        "mean": lambda: tokens.mean(0),
        "mean_sqrt_len_tokens": lambda: tokens.sum(0) / math.sqrt(count),
        "weightedmean": lambda: (tokens * places).sum(0) / places.sum(),
        "lasttoken": lambda: tokens[-1],
    }[mode]()


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)
