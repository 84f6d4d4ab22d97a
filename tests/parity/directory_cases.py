"""Directories that can be exported, each with what a numpy reference says of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from parity import hugging_face as hf
from parity import hugging_face_tokenizers as tokens
from parity.reference_encoders import ACTIVATIONS, Array, ReferenceEncoder, pool, unit
from tokenizers import AddedToken, Tokenizer

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
    classifies: bool = False
    pair: bool = False
    scores: Callable[[Array], Array] | None = None
    metric: str = "cosine"
    texts: tuple[Any, ...] = ()
    variants: tuple[str, ...] = ()

    @property
    def items(self) -> list[Any]:
        return list(self.texts or (PAIRS if self.pair else TEXTS))

    def rows(self) -> Array:
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.enable_truncation(self.length)
        encoded = tokenizer.encode_batch(self.items)
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
    return Expected(
        row=reference.logits, tokenizer=tokenizer, classifies=True, scores=scores, **facts
    )


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
        return classifier(reference, own_tokenizer(path), pair=pair, scores=scores)

    return write


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


TORCH = {
    "activation.Tanh": "tanh", "activation.ReLU": "relu", "linear.Identity": "linear",
    "activation.GELU": "gelu", "activation.Sigmoid": "sigmoid", "activation.SiLU": "silu",
}  # fmt: skip


def with_words(path: Path) -> Expected:
    """Add two words and train them, one of them as a special token."""
    tokenizer = tokens.bert_tokenizer()
    tokenizer.add_tokens([AddedToken("covid19", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("[QUERY]", single_word=True, rstrip=True)])
    reference = hf.write_directory(path, tokenizer=tokenizer)
    texts = ("covid19 sat", "the covid19cat", "[QUERY] the cat", "x[QUERY]y", "Covid19, covid 19")
    return embedder(reference, tokenizer, texts=texts)


def slow_bert(**config: Any) -> Write:
    """Write what a slow BERT tokenizer leaves: vocab.txt, flags, no tokenizer.json."""

    def write(path: Path) -> Expected:
        reference = hf.write_directory(path, tokenizer_config=config)
        (path / "tokenizer.json").unlink()
        vocabulary = "\n".join(tokens.WORD_PIECES) + "\n"
        (path / "vocab.txt").write_text(vocabulary, encoding="utf-8")
        tokenizer = tokens.bert_tokenizer(
            lowercase=config.get("do_lower_case", True),
            strip_accents=config.get("strip_accents"),
            handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        )
        return embedder(reference, tokenizer, texts=(*TEXTS, "日本 今日", "CAFÉ Sat"))

    return write


def slow_added(path: Path) -> Expected:
    """Write added_tokens.json beside vocab.txt, as F05's directories have it."""
    words = len(tokens.WORD_PIECES)
    expected = slow_bert()(path)
    hf.write_json(path / "added_tokens.json", {"[QUERY]": words, "covid19": words + 1})
    names = {"additional_special_tokens": ["[QUERY]"], "sep_token": "[SEP]", "cls_token": "[CLS]"}
    hf.write_json(path / "special_tokens_map.json", names)
    tokenizer = tokens.bert_tokenizer()
    tokenizer.add_special_tokens([AddedToken("[QUERY]", normalized=False)])
    tokenizer.add_tokens([AddedToken("covid19", normalized=True)])
    return Expected(
        row=expected.row, tokenizer=tokenizer, texts=("covid19 sat", "[QUERY] the cat", "COVID19")
    )


def slow_roberta(path: Path) -> Expected:
    reference = hf.write_directory(path, "roberta", tokenizer_config={"add_prefix_space": True})
    (path / "tokenizer.json").unlink()
    vocabulary, merges = tokens.byte_pairs()
    hf.write_json(path / "vocab.json", vocabulary)
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    return embedder(reference, tokens.roberta_tokenizer(add_prefix_space=True))


def slow_pieces(family: str, file: str, model: str, **config: Any) -> Write:
    """Write a SentencePiece model alone, as the slow tokenizer of a family leaves it."""

    def write(path: Path) -> Expected:
        reference = hf.write_directory(path, family, tokenizer_config=config)
        (path / "tokenizer.json").unlink()
        (path / file).write_bytes(tokens.sentence_piece_model(model))
        # Of ALBERT's two tokenizers in transformers, the slow one takes blanks off the end.
        texts = tuple(text.strip() for text in TEXTS)
        return embedder(reference, tokens.TOKENIZERS[family](), texts=texts)

    return write


def sharded(path: Path) -> Expected:
    """Split the weights over two files with an index."""
    from safetensors.numpy import load_file, save_file  # noqa: PLC0415 - this case's own

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
    from safetensors.numpy import load_file, save_file  # noqa: PLC0415 - these cases' own

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


def separators_of_other_names(path: Path) -> Expected:
    """Call [CLS] and [SEP] otherwise, as words that a text may have."""
    names = {"cls_token": "hello", "sep_token": "boat"}
    reference = hf.write_directory(path, tokenizer_config=names)
    (path / "tokenizer.json").unlink()
    (path / "vocab.txt").write_text("\n".join(tokens.WORD_PIECES) + "\n", encoding="utf-8")
    tokenizer = tokens.bert_tokenizer()
    ids = {piece: place for place, piece in enumerate(tokens.WORD_PIECES)}
    from tokenizers import processors  # noqa: PLC0415 - this case's own

    tokenizer.post_processor = processors.BertProcessing(
        ("boat", ids["boat"]), ("hello", ids["hello"])
    )
    return embedder(reference, tokenizer, texts=("the cat sat", "café 12"))


def cased_pair(path: Path) -> Expected:
    """A BERT whose tokenizer makes no segments: both texts are of the first."""
    reference = hf.write_directory(
        path, classes=2, tokenizer_config={"model_input_names": ["input_ids", "attention_mask"]}
    )
    expected = classifier(reference, own_tokenizer(path), pair=True)
    return Expected(
        row=lambda ids, _: reference.logits(ids, [0] * len(ids)),
        tokenizer=expected.tokenizer, classifies=True, pair=True, scores=softmax,
    )  # fmt: skip
