"""Changes to a Hugging Face tokenizer by flags, and checks against other files of the directory."""

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from semserve_export.errors import WeightsError
from semserve_export.hugging_face.tokenizer import parse_tokenizer
from semserve_export.tokenizers.tokenizer_files import CONFIG, FILE

FLAGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Keys of tokenizer_config.json by their names in BertNormalizer."""


def require_agreement(definition: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse a tokenizer.json that contradicts tokenizer_config.json.

    Raises:
        WeightsError: the two contradict each other; the message names the key.
    """
    bert = bert_normalizer(definition)
    if bert:
        stated = {name: config[key] for key, name in FLAGS.items() if key in config}
        for key, name in FLAGS.items():
            if key in config and _effect(bert, name) != _effect({**bert, **stated}, name):
                raise WeightsError(
                    f"{CONFIG}: {key} {config[key]!r} contradicts the normalizer of {FILE}; make"
                    " them agree"
                )
    level = _part(definition.get("pre_tokenizer"), "ByteLevel", "pretokenizers")
    prefixed = config.get("add_prefix_space")
    if level and prefixed is not None and bool(prefixed) != bool(level.get("add_prefix_space")):
        raise WeightsError(f"{CONFIG}: add_prefix_space {prefixed!r} contradicts {FILE}")


def with_flags(
    tokenizer: Tokenizer, *, strip_accents: bool | None, split_on_cjk: bool | None
) -> Tokenizer:
    """Apply the flags of the command line, which override the directory.

    Raises:
        WeightsError: the tokenizer has no such setting.
    """
    changes = {"strip_accents": strip_accents, "handle_chinese_chars": split_on_cjk}
    changes = {key: value for key, value in changes.items() if value is not None}
    if not changes:
        return tokenizer
    definition = json.loads(tokenizer.to_str())
    bert = bert_normalizer(definition)
    if bert is None:
        raise WeightsError(
            "--strip-accents and --split-on-cjk are for BERT's normalizer, which this tokenizer"
            " has not"
        )
    bert.update(changes)
    return parse_tokenizer(definition)


def lowercase_first(tokenizer: Tokenizer) -> Tokenizer:
    """Convert texts to lower case first, as sentence-transformers' do_lower_case does.

    Raises:
        WeightsError: there are added words: releases of sentence-transformers differ in whether
            they match before or after the conversion.
    """
    definition = json.loads(tokenizer.to_str())
    if any(not word["normalized"] for word in definition["added_tokens"]):
        raise WeightsError(
            "sentence_bert_config.json: do_lower_case cannot be honoured beside added tokens"
        )
    before = definition["normalizer"]
    steps = before["normalizers"] if before and before["type"] == "Sequence" else [before]
    steps = [step for step in steps if step]
    definition["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *steps]}
    return parse_tokenizer(definition)


def bert_normalizer(definition: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the mutable BertNormalizer in the content of a tokenizer.json."""
    return _part(definition.get("normalizer"), "BertNormalizer", "normalizers")


def _part(step: Any, kind: str, parts: str) -> dict[str, Any] | None:
    if not step:
        return None
    if step["type"] == "Sequence":
        found = (_part(each, kind, parts) for each in step[parts])
        return next((each for each in found if each is not None), None)
    return step if step["type"] == kind else None


def _effect(bert: Mapping[str, Any], key: str) -> bool:
    """Return the effect of a flag; by default, accents are stripped if letters are lowered."""
    value = bert.get(key)
    return bool(bert["lowercase"] if value is None and key == "strip_accents" else value)


def require_ids_below(tokenizer: Tokenizer, rows: int) -> None:
    """Refuse a tokenizer that has ids for which the model has no vectors.

    Raises:
        WeightsError: the message names one such piece.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    piece = max(vocabulary, key=vocabulary.__getitem__)
    if vocabulary[piece] >= rows:
        raise WeightsError(
            f"the tokenizer has {piece!r} with the id {vocabulary[piece]}, and the model has"
            f" vectors for {rows} ids; the tokenizer is another model's"
        )


def without_segments(tokenizer: Tokenizer) -> Tokenizer:
    """Give both texts of a pair the first segment, as tokenizers without segment ids do."""
    definition = json.loads(tokenizer.to_str())
    processor = definition["post_processor"]
    if processor["type"] == "BertProcessing":
        start, end = processor["cls"], processor["sep"]
        names = {
            name: {"id": name, "ids": [place], "tokens": [name]} for name, place in (start, end)
        }
        between, first = (
            {"SpecialToken": {"id": end[0], "type_id": 0}},
            {"SpecialToken": {"id": start[0], "type_id": 0}},
        )
        texts = [{"Sequence": {"id": side, "type_id": 0}} for side in "AB"]
        definition["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [first, texts[0], between],
            "pair": [first, texts[0], between, texts[1], between],
            "special_tokens": names,
        }
    for template in ("single", "pair"):
        for piece in definition["post_processor"].get(template, []):
            for part in piece.values():
                part["type_id"] = 0
    return parse_tokenizer(definition)
