"""The settings of a tokenizer in the files of a Hugging Face directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.files.model_files import read_object

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FAMILY_NAMES = (
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[UNK]",
    "[MASK]",
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    "<mask>",
)
"""Default names of special tokens."""
NO_LIMIT = 1_000_000
"""A `model_max_length` of at least this number means no limit."""
WITHOUT_SEGMENTS = ("Roberta", "XLMRoberta", "Camembert", "DistilBert")
"""Tokenizer classes without segment ids: a model with segments then gets only the first segment."""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """The settings of a directory's tokenizer."""

    directory: Path
    config: Mapping[str, Any]  # tokenizer_config.json
    special_tokens: Mapping[str, Any]  # special_tokens_map.json

    @classmethod
    def read(cls, directory: Path) -> "TokenizerFiles":
        """Read the configuration.

        Raises:
            WeightsError: a file is not a JSON object, or a setting is not supported.
        """
        files = cls(
            directory,
            read_object(directory / CONFIG),
            read_object(directory / "special_tokens_map.json"),
        )
        side = files.config.get("truncation_side", "right")
        if side != "right":
            raise WeightsError(
                f"{CONFIG}: truncation_side {side!r} cannot be honoured; the server cuts the end"
                " unless a request says otherwise"
            )
        return files

    @property
    def max_length(self) -> int | None:
        """Largest number of tokens of a text, if the files limit it.

        Raises:
            WeightsError: the limit is not a number of tokens.
        """
        key = "model_max_length" if "model_max_length" in self.config else "max_len"
        length = self.config.get(key)
        if length is None:
            return None
        if isinstance(length, bool) or not isinstance(length, int | float) or not length > 0:
            raise WeightsError(f"{CONFIG}: {key} is {length!r}, and must be a number from 1 on")
        return int(length) if length < NO_LIMIT else None

    @property
    def class_name(self) -> str:
        """The tokenizer's class, without the suffix `Fast`."""
        return str(self.config.get("tokenizer_class") or "").removesuffix("Fast")

    def name_of(self, role: str, default: str) -> str:
        """Return the name of a special token."""
        return (
            content_of(self.config.get(role))
            or content_of(self.special_tokens.get(role))
            or default
        )

    @property
    def added(self) -> Mapping[str, int]:
        """The words that were added, with their ids, as slow tokenizers write them."""
        return read_object(self.directory / "added_tokens.json")

    @property
    def extra_specials(self) -> set[str]:
        """The names of additional special tokens, which have no predefined role."""
        names: set[str] = set()
        for source in (self.config, self.special_tokens):
            for key in ("additional_special_tokens", "extra_special_tokens"):
                value = source.get(key) or ()
                names |= {
                    content_of(each)
                    for each in (value.values() if isinstance(value, dict) else value)
                }
        return names - {""} - self.separators

    @property
    def separators(self) -> set[str]:
        """The names of all special tokens with a predefined role; in texts they are not words."""
        value = (
            content_of(source.get(role))
            for source in (self.config, self.special_tokens)
            for role in ROLES
        )
        return {name for name in value if name} | set(FAMILY_NAMES)


def content_of(token: Any) -> str:
    """Return a token's name, from a string or from an object with matching flags."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else ""
