"""A KerasHub tokenizer or preprocessor as the source of a Keras model's token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras_hub

from semserve_export.errors import WeightsError
from semserve_export.keras_models.keras_hub_tokenizer import build_keras_hub_tokenizer
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.models.families import FAMILIES, Family
from semserve_export.models.preset_rules import require_explained
from semserve_export.report import Fact, Origin
from semserve_export.tokenizers.fuzz_texts import odd_texts
from semserve_export.tokenizers.parity import compare_tokenizers

COMPARED_TEXTS = 600
KINDS = (keras_hub.tokenizers.Tokenizer, keras_hub.models.Preprocessor)


@dataclass(frozen=True, slots=True)
class KerasHubSource(TokenSource):
    """A token source that may differ from KerasHub for known causes."""

    keras_hub_tokenizer: Any = None

    def require_agreement(self) -> None:
        """Compare tokenizer.json with KerasHub's tokenizer on unusual texts.

        Raises:
            WeightsError: they differ without a known cause.
        """
        texts = odd_texts(COMPARED_TEXTS)
        require_explained(compare_tokenizers(self.keras_hub_tokenizer, self.tokenizer, texts))


def read_keras_hub(given: Any, origin: Origin = "stated") -> TokenSource:
    """Convert a KerasHub tokenizer or preprocessor.

    Raises:
        WeightsError: its family cannot be exported.
    """
    original = getattr(given, "tokenizer", given)
    family = _family(original)
    tokenizer = build_keras_hub_tokenizer(original, family)

    def read(texts: Sequence[str]) -> list[list[int]]:
        return [list(one.ids) for one in tokenizer.encode_batch_fast(list(texts))]

    length = getattr(given, "sequence_length", None)
    return KerasHubSource(
        tokenizer=tokenizer,
        read=read,
        title=f"KerasHub's {type(given).__name__}",
        origin=origin,
        length=int(length) if length and given is not original else None,
        padding="post",
        truncating="post",
        pad_id=int(original.pad_token_id),
        pair_truncation=getattr(given, "truncate", "round_robin"),
        adds_separators=True,
        facts=(Fact("family of the tokenizer", family.name),),
        keras_hub_tokenizer=original,
    )


def _family(original: Any) -> Family:
    for family in FAMILIES:
        if type(original) is family.classifier.preprocessor_cls.tokenizer_cls:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise WeightsError(
        f"tokenizer: a {type(original).__name__} of KerasHub cannot be exported; what can be is"
        f" that of {known}"
    )
