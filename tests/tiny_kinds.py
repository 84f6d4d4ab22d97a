"""Models of each kind that the server takes, made of a few random numbers, each with its formula.

A kind is an ONNX graph and a function of numpy that computes the same from the token ids alone, so
that what the server answers is held against something that shares no code with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from tiny_bundles import (
    LONGEST,
    VOCABULARY,
    Ids,
    Tiny,
    golden,
    golden_pair,
    ids_of,
    joined,
    node,
    single,
)

Floats = NDArray[np.float32]
WIDTH = 5
NUMBERS = np.random.default_rng(15)
TABLE: Floats = NUMBERS.normal(size=(len(VOCABULARY), WIDTH)).astype(np.float32)
SECOND: Floats = NUMBERS.normal(size=(WIDTH, WIDTH)).astype(np.float32)
PLACES: Floats = NUMBERS.normal(size=(LONGEST, WIDTH)).astype(np.float32)
CLASSES: Floats = NUMBERS.normal(size=(WIDTH, 3)).astype(np.float32)


def _mean(ids: str, mask: str, output: str) -> list[onnx.NodeProto]:
    """Average the vectors of the tokens that the mask keeps."""
    own = f"{output}_"
    return [
        node("Gather", f"table {ids}", f"{own}vectors"),
        node("Cast", mask, f"{own}mask", to=TensorProto.FLOAT),
        node("Unsqueeze", f"{own}mask last", f"{own}wide"),
        node("Mul", f"{own}vectors {own}wide", f"{own}kept"),
        node("ReduceSum", f"{own}kept middle", f"{own}sum", keepdims=0),
        node("ReduceSum", f"{own}mask middle", f"{own}count", keepdims=1),
        node("Div", f"{own}sum {own}count", output),
    ]


AXES = {"last": np.array([-1]), "middle": np.array([1])}


def mean(ids: Ids) -> Floats:
    """Average the vectors of tokens: float32 [WIDTH]."""
    return TABLE[ids].mean(axis=0)


PROMPTS = {"query": "query: ", "passage": "passage: ", "bare": ""}
_EMBEDDING = {
    "task": "embedding",
    "output": "embedding",
    "pooling": "mean",
    "normalized": False,
    "dimensions": WIDTH,
    "metric": "dot",
}


def prompted(name: str = "tiny-prompted") -> Tiny:
    """Make a model of mean vectors, with prompts of which `passage` is the default."""
    return Tiny(
        name,
        _mean("token_ids", "padding_mask", "embedding"),
        {"table": TABLE, **AXES},
        {**_EMBEDDING, "prompts": PROMPTS, "default_prompt": "passage"},
        [golden(text, embedding=mean(single(text))) for text in ("cat sat", "dog")],
    )


def sided_vector(text: str, side: int) -> Floats:
    """Return the mean as it is for the left side, and multiplied by a matrix for the right."""
    vector = mean(single(text))
    return vector @ SECOND if side else vector


def sided() -> Tiny:
    """Make a two-tower model whose right encoder has one more layer."""
    return Tiny(
        "tiny-sided",
        [
            *_mean("token_ids", "padding_mask", "left"),
            node("MatMul", "left second", "right"),
            node("Cast", "side", "number", to=TensorProto.FLOAT),
            node("Unsqueeze", "number last", "is_right"),
            node("Sub", "right left", "difference"),
            node("Mul", "difference is_right", "added"),
            node("Add", "left added", "embedding"),
        ],
        {"table": TABLE, "second": SECOND, **AXES},
        {**_EMBEDDING, "metric": "cosine", "sides": ["left", "right"]},
        [
            {**golden(text, embedding=sided_vector(text, place)), "side": side}
            for text in ("cat sat on", "dog")
            for place, side in enumerate(("left", "right"))
        ],
        inputs=["token_ids", "padding_mask", "side"],
    )


def padded_vector(text: str, *, start: bool) -> Floats:
    """Weigh the vector at each place, padding included, as a model without a mask does."""
    ids = ids_of(text)
    ids = ids[-LONGEST:] if start else ids[:LONGEST]
    padding = [0] * (LONGEST - len(ids))
    row = padding + ids if start else ids + padding
    return (TABLE[row] * PLACES).sum(axis=0)


def padded(*, start: bool) -> Tiny:
    """Make a model of sequences that are padded to `LONGEST`, and of no mask."""
    side = "start" if start else "end"
    texts = ("cat sat", "", f"sea {'dog ' * LONGEST}sun")
    return Tiny(
        f"tiny-padded-{side}",
        [
            node("Gather", "table token_ids", "vectors"),
            node("Mul", "vectors places", "weighed"),
            node("ReduceSum", "weighed middle", "embedding", keepdims=0),
        ],
        {"table": TABLE, "places": PLACES, **AXES},
        {
            **_EMBEDDING,
            "padded_length": LONGEST,
            "padding": side,
            "truncation": side,
        },
        [
            {
                "text": text,
                "token_ids": (ids_of(text)[-LONGEST:] if start else ids_of(text)[:LONGEST]),
                "segment_ids": [0] * min(len(ids_of(text)), LONGEST),
                "embedding": padded_vector(text, start=start).tolist(),
            }
            for text in texts
        ],
        template=False,
        inputs=["token_ids"],
    )


def ordered_logit(ids: Ids) -> float:
    """Weigh each token by its place, so that the order of the texts is seen."""
    return float((TABLE[ids, 0] * np.arange(1, len(ids) + 1) / 10).sum())


def scorer(name: str, *, scores: str, pair: bool = True, hypothesis_first: bool = False) -> Tiny:
    """Make a model of one logit that sees in which order words stand."""
    order = ["hypothesis", "premise"] if hypothesis_first else None
    return Tiny(
        name,
        [
            node("Gather", "column token_ids", "numbers"),
            node("Cast", "padding_mask", "mask", to=TensorProto.FLOAT),
            node("CumSum", "mask one", "place"),
            node("Mul", "numbers place", "weighed"),
            node("Mul", "weighed mask", "kept"),
            node("Div", "kept ten", "shrunk"),
            node("ReduceSum", "shrunk middle", "logits", keepdims=1),
        ],
        {
            "column": TABLE[:, 0],
            "one": np.array(1),
            "ten": np.array(10, np.float32),
            **AXES,
        },
        {
            "task": "score",
            "output": "logits",
            "scores": scores,
            "pair": pair,
            "text_order": order,
        },
        [
            golden_pair(
                "cat sat",
                "a dog",
                ordered_logit(joined("cat sat", "a dog", hypothesis_first=hypothesis_first)),
                hypothesis_first=hypothesis_first,
            )
            if pair
            else golden("cat sat on", logits=[ordered_logit(single("cat sat on"))])
        ],
    )


def separate_logits(left: str, right: str) -> Floats:
    """Return what a Dense layer makes of |u - v|: float32 [3]."""
    return np.abs(mean(single(left)) - mean(single(right))) @ CLASSES


def separate() -> Tiny:
    """Make a classifier of two sequences, by a Dense layer over |u - v|."""
    pairs = (("cat sat", "a dog"), ("sea", "train bus town sun"))
    return Tiny(
        "tiny-separate",
        [
            *_mean("token_ids", "padding_mask", "left"),
            *_mean("token_ids_right", "padding_mask_right", "right"),
            node("Sub", "left right", "difference"),
            node("Abs", "difference", "distance"),
            node("MatMul", "distance classes", "logits"),
        ],
        {"table": TABLE, "classes": CLASSES, **AXES},
        {
            "task": "classification",
            "output": "logits",
            "scores": "none",
            "pair": True,
            "pair_inputs": "separate",
            "labels": ["x", "y", "z"],
        },
        [
            {
                "premise": left,
                "hypothesis": right,
                "token_ids": single(left),
                "segment_ids": [0] * len(single(left)),
                "token_ids_right": single(right),
                "logits": separate_logits(left, right).tolist(),
            }
            for left, right in pairs
        ],
        inputs=["token_ids", "padding_mask", "token_ids_right", "padding_mask_right"],
    )


def sparse_weights(text: str) -> Floats:
    """Return max over the tokens of log(1 + relu(logits)), as SPLADE does: float32 [vocabulary]."""
    weights: Floats = np.log1p(np.maximum(TABLE[single(text)] @ TABLE.T, 0)).max(axis=0)
    return weights


def sparse(name: str = "tiny-sparse") -> Tiny:
    """Make a SPLADE model without layers: the logits of a token are its vector times all."""
    return Tiny(
        name,
        [
            node("Gather", "table token_ids", "vectors"),
            node("MatMul", "vectors turned", "scores"),
            node("Relu", "scores", "positive"),
            node("Add", "positive one", "more"),
            node("Log", "more", "logarithms"),
            node("Cast", "padding_mask", "mask", to=TensorProto.FLOAT),
            node("Unsqueeze", "mask last", "wide"),
            node("Mul", "logarithms wide", "kept"),
            node("ReduceMax", "kept", "weights", axes=[1], keepdims=0),
        ],
        {"table": TABLE, "turned": np.ascontiguousarray(TABLE.T), "one": np.float32([1]), **AXES},
        {
            "task": "sparse_embedding",
            "output": "weights",
            "dimensions": len(VOCABULARY),
            "prompts": PROMPTS,
        },
        [
            golden(
                text,
                weights={
                    "indices": np.flatnonzero(sparse_weights(text)).tolist(),
                    "values": sparse_weights(text)[sparse_weights(text) > 0].tolist(),
                },
            )
            for text in ("cat sat", "dog")
        ],
    )


KINDS: Sequence[Callable[[], Tiny]] = (
    prompted,
    sided,
    lambda: padded(start=False),
    lambda: padded(start=True),
    lambda: scorer("tiny-score", scores="sigmoid"),
    lambda: scorer("tiny-score-hypothesis-first", scores="none", hypothesis_first=True),
    lambda: scorer("tiny-regression", scores="none", pair=False),
    separate,
    sparse,
)


def write_all(models_directory: Path) -> Path:
    """Write a bundle of each kind."""
    for make in KINDS:
        make().write(models_directory)
    return models_directory
