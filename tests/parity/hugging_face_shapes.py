"""Shapes of the tensors of a directory's layers and heads, by their names."""

from parity.reference_encoders import LANGUAGE_HEADS

HIDDEN, INNER, HEADS, POSITIONS, ADDED = 16, 32, 2, 48, 4


def dense_shapes(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def head_shapes(family: str, classes: int) -> dict[str, tuple[int, ...]]:
    if "roberta" in family:
        return {
            **dense_shapes("classifier.dense", HIDDEN, HIDDEN),
            **dense_shapes("classifier.out_proj", HIDDEN, classes),
        }
    first = {"distilbert": "pre_classifier", "deberta-v2": "pooler.dense"}.get(family)
    before = dense_shapes(first, HIDDEN, HIDDEN) if first else {}
    return {**before, **dense_shapes("classifier", HIDDEN, classes)}


def language_shapes(family: str, words: int, *, untied: bool) -> dict[str, tuple[int, ...]]:
    """Name the tensors of a masked language model's head; tied, it has no decoder of its own."""
    dense, norm, decoder, bias = LANGUAGE_HEADS[family]
    width = 8 if family == "albert" else HIDDEN
    own = {f"{decoder}.weight": (words, width)} if untied else {}
    return {
        **dense_shapes(dense, HIDDEN, width), **norm_shapes(norm, width), bias: (words,), **own,
    }  # fmt: skip


# ---- directories ---------------------------------------------------------------------------------
