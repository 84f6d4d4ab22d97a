"""Tiny models of every family, with KerasHub's own tokenizer and preprocessor: a stranger's."""

import io
import json
from functools import cache
from typing import Any

import keras_hub
import numpy as np
from semserve_export.tokenizers.sample_texts import PAIRS, TEXTS
from semserve_export.tokenizers.synthetic_texts import texts_like
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

LENGTH = 40
SIZE = {
    "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32,
    "max_sequence_length": 48, "dropout": 0,
}  # fmt: skip
EXTRA = {"Albert": {"embedding_dim": 8}, "DebertaV3": {"bucket_size": 24}}
FAMILIES = ("Bert", "Roberta", "DistilBert", "Albert", "DebertaV3", "XLMRoberta")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORD_PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "cat", "sat", "hello", "world", "boat", "...", "ss", "今", "日"),
    *"!\"#$%&'()*+,-./:;<=>?@[]_",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
]
SPECIAL_PIECES = {
    "Albert": {"pad": (0, "<pad>"), "unk": (1, "<unk>"), "bos": (2, "[CLS]"), "eos": (3, "[SEP]")},
    "DebertaV3": {
        "pad": (0, "[PAD]"), "bos": (1, "[CLS]"), "eos": (2, "[SEP]"), "unk": (3, "[UNK]"),
    },
    "XLMRoberta": {"unk": (0, "<unk>"), "bos": (1, "<s>"), "eos": (2, "</s>")},
}  # fmt: skip


def make_tokenizer(family: str, **settings: Any) -> Any:
    """Make KerasHub's tokenizer of a family on a small vocabulary."""
    kind = getattr(keras_hub.models, f"{family}Tokenizer")
    if family in SPECIAL_PIECES:
        return kind(proto=sentence_piece_model(family), **settings)
    if family == "Roberta":
        vocabulary, merges = byte_pairs()
        return kind(vocabulary=dict(vocabulary), merges=list(merges), **settings)
    return kind(vocabulary=WORD_PIECES, **settings)


def make_classifier(family: str, classes: int = 3, *, layers: int = 1, **settings: Any) -> Any:
    """Make a classifier with its preprocessor, with weights so large that every mistake shows."""
    parts = keras_hub.models
    tokenizer = make_tokenizer(family)
    classifier = getattr(parts, f"{family}TextClassifier")(
        make_backbone(family, tokenizer, layers),
        num_classes=classes,
        preprocessor=getattr(parts, f"{family}TextClassifierPreprocessor")(
            tokenizer, sequence_length=LENGTH
        ),
        **settings,
    )
    scramble(classifier)
    return classifier


def make_backbone(family: str, tokenizer: Any, layers: int = 1) -> Any:
    """Make the backbone, with layers of 16."""
    size = SIZE | EXTRA.get(family, {}) | {"num_layers": layers}
    backbone = getattr(keras_hub.models, f"{family}Backbone")(
        vocabulary_size=tokenizer.vocabulary_size() + 1, **size
    )
    scramble(backbone)
    return backbone


def scramble(model: Any, seed: int = 3) -> None:
    """Draw every weight anew; what Keras draws is so small that all texts look alike."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        around = 1 if variable.path.endswith("gamma") else 0
        variable.assign(random.normal(around, 0.3, variable.shape).astype(np.float32))


@cache
def corpus() -> list[str]:
    """Return some sentences to learn pieces from."""
    return [*TEXTS, *(text for pair in PAIRS for text in pair), *texts_like(300, 3, pair=False)]


@cache
def byte_pairs() -> tuple[dict[str, int], list[str]]:
    """Learn a byte-level BPE, blanks merged too, so that a blank in the wrong place shows."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=6,
        show_progress=False,
    )
    learnt.train_from_iterator([*corpus(), *("  \n\n \t " * 9, " \n b", "\n\n\n")], trainer)
    model = json.loads(learnt.to_str())["model"]
    return model["vocab"], [" ".join(merge) for merge in model["merges"]]


@cache
def sentence_piece_model(family: str) -> bytes:
    """Train a Unigram model with the family's special pieces; ALBERT's folds case."""
    import sentencepiece  # noqa: PLC0415 - only these families need it

    written = io.BytesIO()
    specials = {
        f"{name}_{what}": value
        for name, pair in SPECIAL_PIECES[family].items()
        for what, value in zip(("id", "piece"), pair, strict=True)
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()),
        model_writer=written,
        vocab_size=400,
        normalization_rule_name="nmt_nfkc_cf" if family == "Albert" else "nmt_nfkc",
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
        **specials,
    )
    return written.getvalue()
