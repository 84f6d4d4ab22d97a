"""Directories that can be exported, each with what a numpy reference says of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from parity import hugging_face as hf
from parity import hugging_face_tokenizers as tokens
from parity.reference_encoders import ACTIVATIONS, Array, ReferenceEncoder, pool, unit
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

TEXTS = (
    "the cat sat", "Hello, World!", "  the café  ", "今日 boat", "a boat's mat - 12 sat",
    "the boat sat on the mat " * 9,
)  # fmt: skip
PAIRS = tuple(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))
Rows = Callable[[Any], Array]
Write = Callable[[Path], "Expected"]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a bundle must answer: one row for each text or pair."""

    row: Callable[[list[int], list[int]], Array]
    tokenizer: Tokenizer
    length: int = hf.POSITIONS
    task: str = "embedding"
    pair: bool = False
    prompt: str = ""
    scores: Callable[[Array], Array] | None = None
    metric: str = "cosine"
    texts: tuple[Any, ...] = ()
    variants: tuple[str, ...] = ()

    @property
    def items(self) -> list[Any]:
        return list(self.texts or (PAIRS if self.pair else TEXTS))

    @property
    def read(self) -> list[Any]:
        """What the model reads: the items behind the default prompt."""
        return [f"{self.prompt}{item}" for item in self.items] if self.prompt else self.items

    def rows(self) -> Array:
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.enable_truncation(self.length)
        encoded = tokenizer.encode_batch(self.read)
        return np.array([self.row(one.ids, one.type_ids) for one in encoded])


@dataclass(frozen=True)
class Case:
    name: str
    write: Write
    flags: dict[str, Any] = field(default_factory=dict)
    quick: bool = False


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def own_tokenizer(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()
    return tokenizer


def embedder(reference: ReferenceEncoder, tokenizer: Tokenizer, **facts: Any) -> Expected:
    """What a directory without modules.json gives: the mean, of length 1."""

    def row(ids: list[int], segments: list[int]) -> Array:
        return unit(pool(reference.tokens(ids, segments), "mean"))

    return Expected(row=row, tokenizer=tokenizer, **facts)


def classifier(
    reference: ReferenceEncoder, tokenizer: Tokenizer, *, scores: Any = softmax, **facts: Any
) -> Expected:
    facts = {"task": "classification", **facts}
    return Expected(row=reference.logits, tokenizer=tokenizer, scores=scores, **facts)


def plain(family: str = "bert", **settings: Any) -> Write:
    def write(path: Path) -> Expected:
        reference = hf.write_directory(path, family, **settings)
        return embedder(reference, own_tokenizer(path))

    return write


def heads(
    family: str = "bert",
    classes: int = 3,
    *,
    pair: bool = False,
    scores: Any = softmax,
    **settings: Any,
) -> Write:
    def write(path: Path) -> Expected:
        reference = hf.write_directory(path, family, classes=classes, **settings)
        task = "score" if classes == 1 else "classification"
        return classifier(reference, own_tokenizer(path), task=task, pair=pair, scores=scores)

    return write


def cross_encoder(activation: str, *, scores: Any, saved_by: str, classes: int = 1) -> Write:
    """Write a cross-encoder as a release of sentence-transformers says what makes its scores."""
    name = f"torch.nn.modules.{activation}"
    keys: dict[str, Any] = {
        "3": {"sbert_ce_default_activation_function": name},
        "4": {"sentence_transformers": {"activation_fn": name, "version": "4.1.0"}},
        "5": {},
    }[saved_by]

    def write(path: Path) -> Expected:
        if saved_by == "5":
            hf.write_json(
                path / "config_sentence_transformers.json",
                {"model_type": "CrossEncoder", "prompts": {}, "activation_fn": name},
            )
        return heads(classes=classes, pair=True, scores=scores, config=keys)(path)

    return write


def sparse(
    family: str = "bert",
    *,
    pooling: str = "max",
    logarithms: int = 1,
    new: bool | None = None,
    untied: bool = False,
    variants: tuple[str, ...] = (),
) -> Write:
    """Write a masked language model, and the modules of a sparse encoder where `new` says which."""

    def write(path: Path) -> Expected:
        reference = hf.write_directory(path, family, language=True, untied=untied)
        if new is not None:
            function = "log1p_relu" if logarithms == 2 else "relu"
            hf.write_splade(path, new=new, pooling_strategy=pooling, activation_function=function)

        def row(ids: list[int], segments: list[int]) -> Array:
            return reference.sparse(ids, segments, pooling, logarithms)

        return Expected(
            row=row, tokenizer=own_tokenizer(path), task="sparse_embedding", variants=variants,
            length=hf.POSITIONS if new is None else 32,
        )  # fmt: skip

    return write


def prompted(prompt: str, write: Write) -> Write:
    """Expect the vectors of texts behind a prompt."""
    return lambda path: replace(write(path), prompt=prompt)


def normed_with_int8(path: Path) -> Expected:
    """Norm the pooled vector, beside a graph in int8, which watches the norms of the layers."""
    return replace(vector_norm(path), variants=("fused", "int8"))


def sentences(
    *modes: str,
    family: str = "bert",
    new: bool = False,
    dense: str = "",
    normalize: bool = True,
    transformer: str = "",
    metric: str | None = None,
    bias: bool = True,
    **settings: Any,
) -> Write:
    """Write a sentence-transformers directory: an encoder, poolings, a dense layer, L2."""

    def write(path: Path) -> Expected:
        reference = hf.write_directory(path / transformer, family)
        kinds = ["Pooling", *(["Dense"] * bool(dense)), *(["Normalize"] * normalize)]
        if metric:
            settings["similarity_fn_name"] = metric
        hf.write_modules(path, *kinds, new=new, transformer=transformer, **settings)
        hf.write_pooling(path, *modes, new=new)
        kernel = bias_vector = None
        if dense:
            width = len(modes) * hf.HIDDEN
            kernel, bias_vector = hf.write_dense(path, width, 8, dense, bias=bias)
        if normalize:
            (path / f"{len(kinds)}_Normalize").mkdir()

        def row(ids: list[int], segments: list[int]) -> Array:
            tokens = reference.tokens(ids, segments)
            vector = np.concatenate([pool(tokens, mode) for mode in modes])
            if kernel is not None:
                function = ACTIVATIONS[TORCH[dense]]
                vector = function(kernel.astype(float) @ vector + bias_vector)
            return unit(vector) if normalize else vector

        tokenizer = own_tokenizer(path / transformer)
        return Expected(row=row, tokenizer=tokenizer, length=32, metric=metric or "cosine")

    return write


def vector_norm(path: Path) -> Expected:
    """Norm the pooled vector, with a Dropout that does nothing between."""
    reference = hf.write_directory(path)
    hf.write_modules(path, "Pooling", "Dropout", "LayerNorm")
    hf.write_pooling(path, "mean")
    hf.write_json(path / "2_Dropout" / "config.json", {"dropout": 0.5})
    weights = {f"norm.{part}": hf.draw((hf.HIDDEN,), part) for part in ("weight", "bias")}
    hf.write_json(path / "3_LayerNorm" / "config.json", {"dimension": hf.HIDDEN})
    save_file(weights, path / "3_LayerNorm" / "model.safetensors")

    def row(ids: list[int], segments: list[int]) -> Array:
        vector = pool(reference.tokens(ids, segments), "mean")
        vector = (vector - vector.mean()) / np.sqrt(vector.var() + 1e-5)
        return vector * weights["norm.weight"] + weights["norm.bias"]

    return Expected(row=row, tokenizer=own_tokenizer(path), length=32)


TORCH = {
    "activation.Tanh": "tanh", "activation.ReLU": "relu", "linear.Identity": "linear",
    "activation.GELU": "gelu", "activation.Sigmoid": "sigmoid", "activation.SiLU": "silu",
}  # fmt: skip


def sharded(path: Path) -> Expected:
    """Split the weights over two files with an index."""
    expected = heads("bert")(path)
    tensors = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for part, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, path / part)
    where = {name: part for part, inside in parts.items() for name in inside}
    hf.write_json(path / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
    return expected


def beside(extra: dict[str, tuple[int, ...]], write: Write) -> Write:
    """Add tensors that nothing uses: what language models and old releases leave."""

    def written(path: Path) -> Expected:
        expected = write(path)
        tensors = load_file(path / "model.safetensors")
        tensors |= {name: hf.draw(shape, name) for name, shape in extra.items()}
        tensors["bert.embeddings.position_ids"] = np.arange(hf.POSITIONS)[None]
        save_file(tensors, path / "model.safetensors")
        return expected

    return written


def lowered(path: Path) -> Expected:
    """Lower letters by sentence_bert_config.json, before a cased tokenizer."""
    reference = hf.write_directory(
        path,
        tokenizer=tokens.bert_tokenizer(lowercase=False),
        tokenizer_config={"do_lower_case": False},
    )
    hf.write_modules(path, "Pooling")
    hf.write_pooling(path, "mean")
    settings = {"max_seq_length": 20, "do_lower_case": True}
    hf.write_json(path / "sentence_bert_config.json", settings)

    def row(ids: list[int], segments: list[int]) -> Array:
        return pool(reference.tokens(ids, segments), "mean")

    tokenizer = tokens.bert_tokenizer(strip_accents=False)
    return Expected(row=row, tokenizer=tokenizer, length=20)


def cased_pair(path: Path) -> Expected:
    """A BERT whose tokenizer makes no segments: both texts are of the first."""
    reference = hf.write_directory(
        path, classes=2, tokenizer_config={"model_input_names": ["input_ids", "attention_mask"]}
    )
    expected = classifier(reference, own_tokenizer(path), pair=True)
    return Expected(
        row=lambda ids, _: reference.logits(ids, [0] * len(ids)),
        tokenizer=expected.tokenizer, task="classification", pair=True, scores=softmax,
    )  # fmt: skip
