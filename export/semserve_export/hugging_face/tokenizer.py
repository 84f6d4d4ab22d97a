"""Converts the tokenizer of a Hugging Face directory for the server.

The source is `tokenizer.json` if it exists, otherwise the vocabulary and `tokenizer_config.json`
(`vocabulary.py`). Words that were added and trained stay registered. The names of special tokens
are not registered: `[SEP]` or `</s>` in a text is text, not a separator. This is the only
difference from the directory's tokenizer, and it is checked on unusual texts before the export.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer

from semserve_export.errors import WeightsError
from semserve_export.tokenizers.fuzz_texts import odd_texts
from semserve_export.tokenizers.tokenizer_files import CONFIG, FILE, TokenizerFiles, content_of

COMPARED_TEXTS = 1000


def adapt_tokenizer(definition: Mapping[str, Any], files: TokenizerFiles) -> Tokenizer:
    """Build a tokenizer from the content of a tokenizer.json; special tokens in texts stay text.

    Raises:
        WeightsError: a setting is not supported, or the result differs from the directory's
            tokenizer.
    """
    original = parse_tokenizer(definition)
    _add_words(original, files)
    kept = dict(json.loads(original.to_str()))
    if kept["model"].get("dropout"):
        raise WeightsError(f"{FILE}: dropout makes a text's tokens a matter of chance")
    if kept["post_processor"] is None:
        raise WeightsError(
            f"{FILE}: has no post_processor, which puts special tokens around a text"
        )
    _require_cut_from_the_end(definition, files)
    kept["truncation"] = kept["padding"] = None
    separators = files.separators | _template_names(kept["post_processor"])
    added = kept["added_tokens"]
    split = bool(files.config.get("split_special_tokens"))
    words = [
        {**token, "special": False}
        for token in added
        if token["content"] not in separators and not (split and token["special"])
    ]
    dropped = [token for token in added if token["content"] in separators]
    for token in dropped:
        _enter(kept["model"], token["content"], token["id"])
    kept["added_tokens"] = words
    tokenizer = _unreachable(kept, separators, original)
    for word in words:
        if tokenizer.token_to_id(word["content"]) != word["id"]:
            raise WeightsError(
                f"{FILE}: the added token {word['content']!r} has a place of its own"
            )
    _require_same(original, tokenizer, separators)
    return tokenizer


def _require_cut_from_the_end(definition: Mapping[str, Any], files: TokenizerFiles) -> None:
    """Refuse a tokenizer.json that truncates texts at their start.

    transformers uses this setting if tokenizer_config.json has no `truncation_side`.

    Raises:
        WeightsError: it does.
    """
    side = (definition.get("truncation") or {}).get("direction", "Right")
    if str(side).lower() != "right" and "truncation_side" not in files.config:
        raise WeightsError(
            f"{FILE}: truncation.direction {side!r} cannot be honoured; the server cuts the end"
            " unless a request says otherwise"
        )


def _add_words(tokenizer: Tokenizer, files: TokenizerFiles) -> None:
    """Add the words of other files than tokenizer.json, as transformers does.

    Raises:
        WeightsError: a word would get another id than in the file.
    """
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    special = files.extra_specials
    words: dict[str, dict[str, Any]] = {
        name: {"id": place, "special": name in special} for name, place in files.added.items()
    }
    for place, token in (files.config.get("added_tokens_decoder") or {}).items():
        if not place.isdecimal() or not isinstance(token, Mapping):
            raise WeightsError(
                f"{CONFIG}: added_tokens_decoder {place!r}: {token!r} is no token by its id"
            )
        words[content_of(token)] = {**token, "id": int(place)}
    for name in special - words.keys():
        words[name] = {"id": tokenizer.token_to_id(name), "special": True}
    for name, word in sorted(
        words.items(), key=lambda each: (each[1]["id"] is None, each[1]["id"])
    ):
        if name in known:
            continue
        is_special = bool(word.get("special"))
        tokenizer.add_tokens(
            [
                AddedToken(
                    name,
                    lstrip=bool(word.get("lstrip")),
                    rstrip=bool(word.get("rstrip")),
                    single_word=bool(word.get("single_word")),
                    normalized=bool(word.get("normalized", not is_special)),
                    special=is_special,
                )
            ]
        )
        if word["id"] is None or tokenizer.token_to_id(name) != word["id"]:
            raise WeightsError(
                f"the added token {name!r} has the id {word['id']}: no vocabulary has it"
            )


def parse_tokenizer(definition: Mapping[str, Any]) -> Tokenizer:
    """Load the content of a tokenizer.json, without its padding and truncation.

    Raises:
        WeightsError: the content is invalid.
    """
    try:
        tokenizer = Tokenizer.from_str(json.dumps(definition))
    except BaseException as error:
        # A panic of the Rust code is not an Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise WeightsError(f"{FILE}: {str(error).splitlines()[0]}") from error
        raise
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _template_names(processor: Mapping[str, Any]) -> set[str]:
    """Return the names of the special tokens that a post-processor adds."""
    kind = processor["type"]
    if kind == "Sequence":
        return set().union(*map(_template_names, processor["processors"]))
    if kind == "TemplateProcessing":
        return {token for each in processor["special_tokens"].values() for token in each["tokens"]}
    if kind in {"BertProcessing", "RobertaProcessing"}:
        return {processor["sep"][0], processor["cls"][0]}
    if kind == "ByteLevel":
        return set()
    raise WeightsError(f"{FILE}: the post_processor {kind} is not known")


def _enter(model: dict[str, Any], name: str, place: int) -> None:
    """Add a token to the vocabulary of the model, so that other ids do not change."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary.setdefault(name, place)
    elif place >= len(vocabulary):
        fillers = ([_unmatchable(str(filler)), 0.0] for filler in range(len(vocabulary), place))
        vocabulary.extend([*fillers, [name, 0.0]])


def _unmatchable(name: str) -> str:
    """Return a name of a piece that no text contains: the server refuses texts with NUL."""
    return f"{name}\0"


def _unreachable(
    definition: dict[str, Any], separators: Iterable[str], original: Tokenizer
) -> Tokenizer:
    """Rename the pieces of special tokens that a text could otherwise produce."""
    tokenizer = parse_tokenizer(definition)
    model = definition["model"]
    unknown = model.get("unk_token")
    for name in sorted(separators):
        place = original.token_to_id(name)
        if place is None or name == unknown:
            continue
        probes = (name, f"a {name} b", f"a{name}b", f"{name}{name}", name.upper(), name.lower())
        found = tokenizer.encode_batch(list(probes), add_special_tokens=False)
        if any(place in one.ids for one in found):
            _rename(model, name, place)
    return parse_tokenizer(definition)


def _rename(model: dict[str, Any], name: str, place: int) -> None:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary[_unmatchable(name)] = vocabulary.pop(name)
    else:
        vocabulary[place] = [_unmatchable(name), vocabulary[place][1]]


def _require_same(original: Tokenizer, exported: Tokenizer, separators: Iterable[str]) -> None:
    """Compare with the directory's tokenizer, on texts without names of special tokens."""
    names = [name.casefold() for name in separators]
    texts = [
        text
        for text in odd_texts(COMPARED_TEXTS)
        if text and not any(name in text.casefold() for name in names)
    ]
    pairs = list(zip(texts[1:100], texts, strict=False))
    for items in (texts, pairs):
        read = (tokenizer.encode_batch(items) for tokenizer in (original, exported))
        for text, expected, actual in zip(items, *read, strict=True):
            if (expected.ids, expected.type_ids) != (actual.ids, actual.type_ids):
                raise WeightsError(f"{FILE}: {text!r} is read otherwise without its special tokens")
