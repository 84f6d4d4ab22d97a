"""Converts a word index to tokenizer.json, with the rules of Keras's `Tokenizer`.

`Tokenizer` replaces each character of `filters` by a blank, converts to lower case and splits at
blanks. A word that is not in the index becomes `oov_token`; without an `oov_token` it is dropped.
"""

import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from semserve_export.errors import WeightsError
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.report import Fact

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
"""The default of Keras's `Tokenizer`."""
MARK, INSIDE = "\U0010ffff", "\U0010fffe"
"""Two code points that are not characters: one begins a word, the other continues it."""
BRACKETED = re.compile(r"[<\[](.+)[>\]]")
PADDING = frozenset({"pad", "padding"})
OUT_OF_VOCABULARY = frozenset({"oov", "unk", "unknown"})
CASED, IGNORABLE = r"[\p{Lu}\p{Ll}\p{Lt}]", r"['.:\p{Mn}\p{Me}\p{Cf}\p{Lm}\p{Sk}·’]"  # noqa: RUF001
FINAL_SIGMA = (
    rf"(?<={CASED}|{CASED}{IGNORABLE}|{CASED}{IGNORABLE}{IGNORABLE})Σ(?!{IGNORABLE}*{CASED})"
)
"""A capital sigma that Python converts to ς: Final_Sigma of the Unicode standard, chapter 3.13."""
MARKS = frozenset({"start", "bos", "sos", "s", "go", "cls", "end", "eos", "/s", "sep"})
"""Markers of the start or the end of a text, such as <START> in Keras's IMDB data."""
LARGEST = 4_000_000  # ids


@dataclass(frozen=True, slots=True)
class WordIndex:
    """A word index, with the settings of its `Tokenizer`."""

    ids: Mapping[str, int]
    unknown: int | None  # the id of words that are not in the index; None: they are dropped
    lower: bool = True
    filters: str = FILTERS
    by_character: bool = False
    pad_id: int = 0  # of what fills sequences up
    assumed: bool = True  # whether the settings are assumed to be Keras's defaults

    @classmethod
    def of_mapping(cls, index: Mapping[str, Any], rows: int | None = None) -> "WordIndex":
        """Create it from a dict of words and ids.

        Args:
            index: the ids of the words.
            rows: number of rows of the model's embedding; words with larger ids are unknown, as
                with `num_words`.

        Raises:
            WeightsError: it is not a word index, or Keras's `Tokenizer` with its defaults cannot
                have made it.
        """
        ids = _checked(index)
        plain = [word for word in ids if not BRACKETED.fullmatch(word)]
        lower = all(word == word.lower() for word in plain)
        for word in plain:
            if found := sorted(set(word) & set(FILTERS + " ")):
                raise WeightsError(
                    f"tokenizer: the word index has {word!r}, and Keras's Tokenizer removes"
                    f" {found[0]!r} by default; give the file that its to_json() makes, or a"
                    " tokenizers.Tokenizer"
                )
        if marks := [word for word in ids if _named_in_brackets(word) in MARKS]:
            raise WeightsError(
                f"tokenizer: the word index has {marks[0]!r}, and a dict does not tell whether the"
                " training put it into each text; give a tokenizers.Tokenizer that puts it there,"
                " or the dict without it"
            )
        unknown = next(
            (ids[word] for word in ids if _named_in_brackets(word) in OUT_OF_VOCABULARY), None
        )
        return cls(_below(ids, rows), unknown, lower=lower, pad_id=padding_id(ids))

    @classmethod
    def of_settings(cls, config: Mapping[str, Any]) -> "WordIndex":
        """Create it from the `config` of a `Tokenizer`'s to_json(), or its get_config().

        Raises:
            WeightsError: it is not such a config, or a setting is not supported.
        """
        index = config["word_index"]
        ids = _checked(json.loads(index) if isinstance(index, str) else index)
        if config.get("split", " ") != " ":
            raise WeightsError(f"tokenizer: split={config['split']!r} cannot be exported, only ' '")
        if config.get("analyzer"):
            raise WeightsError("tokenizer: an analyzer of your own is no part of a tokenizer.json")
        unknown = ids.get(config["oov_token"]) if config.get("oov_token") is not None else None
        return cls(
            _below(ids, config.get("num_words")),
            unknown,
            lower=bool(config.get("lower", True)),
            filters=config.get("filters") or "",
            by_character=bool(config.get("char_level")),
            pad_id=padding_id(ids),
            assumed=False,
        )

    def read(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts as `Tokenizer.texts_to_sequences` does."""
        blanks = dict.fromkeys(map(ord, self.filters), " ")
        rows = []
        for text in texts:
            lowered = text.lower() if self.lower else text
            words = lowered if self.by_character else lowered.translate(blanks).split(" ")
            ids = [self.ids.get(word, self.unknown) for word in words if word]
            rows.append([one for one in ids if one is not None])
        return rows

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer.json.

        Without an id for unknown words, the model is a BPE without merges: it finds whole words,
        and drops any other word, because every word begins with `MARK`.
        """
        mark = MARK if self.unknown is None and not self.by_character else ""
        names = {f"{mark}{word}": place for word, place in self.ids.items()}
        names |= {f"{INSIDE}no word {place}": place for place in _holes(names)}
        if self.unknown is None:
            tokenizer = Tokenizer(
                models.BPE(names, [], ignore_merges=True, continuing_subword_prefix=INSIDE)
            )
        else:
            unknown = next(word for word, place in names.items() if place == self.unknown)
            tokenizer = Tokenizer(models.WordLevel(names, unk_token=unknown))
        steps: list[Any] = []
        if self.lower:
            steps += [normalizers.Replace(Regex(FINAL_SIGMA), "ς"), normalizers.Lowercase()]
        if self.filters and not self.by_character:
            steps.append(normalizers.Replace(Regex(f"[{re.escape(self.filters)}]"), " "))
        if steps:
            tokenizer.normalizer = normalizers.Sequence(steps)
        if self.by_character:
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        elif mark:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(mark, prepend_scheme="always")
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
        return tokenizer

    def source(self) -> TokenSource:
        """Return the word index as the source of a model's ids."""
        unknown = "left out" if self.unknown is None else f"id {self.unknown}"
        reading = f"lower={self.lower}, filters={self.filters!r}"
        facts = (
            Fact("words", f"{len(self.ids)}; others: {unknown}"),
            Fact("read with", reading, "assumed" if self.assumed else "found"),
        )
        words = sorted(self.ids, key=self.ids.__getitem__)
        return TokenSource(
            tokenizer=self.tokenizer(),
            read=self.read,
            title="the word index",
            words=tuple(word for word in words if not BRACKETED.fullmatch(word)),
            pad_id=self.pad_id,
            facts=facts,
        )


def read_word_index(path: Path, rows: int | None = None) -> WordIndex | None:
    """Read a JSON file of words and ids, or of `Tokenizer.to_json()`; None for other JSON.

    Raises:
        WeightsError: the file cannot be read, or as `WordIndex.of_mapping`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content = json.loads(content) if isinstance(content, str) else content
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: is no word index: a JSON object of words and ids")
    if isinstance(content.get("config"), dict) and "word_index" in content["config"]:
        return WordIndex.of_settings(content["config"])
    if isinstance(content.get("model"), dict):
        return None  # a file of the tokenizers library
    return WordIndex.of_mapping(content, rows)


def padding_id(ids: Mapping[str, int]) -> int:
    """Return the id of `<pad>`, `[PAD]` or the like; 0, as in Keras, where no word is called so."""
    return next((ids[word] for word in ids if _named_in_brackets(word) in PADDING), 0)


def _checked(index: Any) -> dict[str, int]:
    if not isinstance(index, Mapping) or not index:
        raise WeightsError("tokenizer: the word index is empty or no mapping of words to ids")
    ids: dict[str, int] = {}
    for word, place in index.items():
        try:
            number = operator.index(place)
        except TypeError:
            number = -1
        if not isinstance(word, str) or not 0 <= number < LARGEST or isinstance(place, bool):
            raise WeightsError(
                f"tokenizer: the word index maps {word!r} to {place!r}; it must map words to ids"
                f" from 0 to {LARGEST - 1}"
            )
        ids[word] = number
    places = sorted(ids.values())
    if twice := [one for one, other in pairwise(places) if one == other]:
        words = [word for word, place in ids.items() if place == twice[0]]
        raise WeightsError(f"tokenizer: the words {words[0]!r} and {words[1]!r} have one id")
    return ids


def _below(ids: Mapping[str, int], most: int | None) -> dict[str, int]:
    return {word: place for word, place in ids.items() if most is None or place < most}


def _holes(names: Mapping[str, int]) -> set[int]:
    """Return the unused ids: the file lists each id up to the largest."""
    return set(range(max(names.values(), default=0))) - set(names.values())


def _named_in_brackets(word: str) -> str:
    bracketed = BRACKETED.fullmatch(word)
    return bracketed[1].lower() if bracketed else ""
