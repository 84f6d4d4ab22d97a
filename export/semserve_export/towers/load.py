"""A model of two texts as a model to export: two towers that are compared, or a pair model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from semserve_export.bundle.tolerance import TOLERANCE
from semserve_export.errors import FidelityError, WeightsError
from semserve_export.keras_models.id_model import read_inputs
from semserve_export.keras_models.load import load_keras_model
from semserve_export.keras_models.proof import proof_texts
from semserve_export.keras_models.sequences import find_sequences
from semserve_export.keras_models.tokenizer_sources import find_source
from semserve_export.model_spec import SIDES
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import OwnModel
from semserve_export.report import Fact, Origin
from semserve_export.towers.comparison import Comparison, Wide, agreeing, tells_apart
from semserve_export.towers.encoders import Encoder, encoder_of_ids, same_encoders
from semserve_export.towers.pair_model import load_pair_model
from semserve_export.towers.pairs import Pair, Reading, TowerProof, answers, make_pairs
from semserve_export.towers.two_texts import Towers, TwoTexts, find_towers


@dataclass(frozen=True, slots=True)
class Origins:
    """Where a model comes from, for its bundle."""

    source: str  # for people
    sha256: str | None  # of its file
    licence: str  # the text of the bundle's LICENSE


def load_two_texts(asked: OwnModel, texts: TwoTexts, origins: Origins) -> LoadedModel:
    """Find out all that an export needs to know of a model of two texts.

    Raises:
        WeightsError: something of it cannot be honoured, or cannot be known.
        FidelityError: with the metric or the tower that the caller names, the vectors do not give
            what the model gives.
    """
    closest: list[tuple[float, Comparison]] = []
    if asked.task in {None, "embedding"}:
        for towers in find_towers(texts, asked.tower):
            side = _Side.read(asked, towers.left, origins)
            other = side if same_encoders(towers.left, towers.right) else None
            other = other or _Side.read(asked, towers.right, origins)
            found = _compared(asked, texts, towers, (side, other), closest)
            if found:
                return found
    _require_no_metric(asked, closest)
    return load_pair_model(asked, texts, origins)


@dataclass(frozen=True, slots=True)
class _Side:
    """One tower, loaded as an embedder of single texts."""

    loaded: LoadedModel
    reading: Reading

    @classmethod
    def read(cls, asked: OwnModel, tower: Any, origins: Origins) -> "_Side":
        encoder = encoder_of_ids(tower)
        alone = replace(
            asked,
            tokenizer=_tokenizer(asked, encoder),
            task="embedding",
            metric=None,
            tower=None,
            live=encoder.model,
        )
        loaded = load_keras_model(
            alone,
            encoder.model,
            source=origins.source,
            sha256=origins.sha256,
            licence=origins.licence,
        )
        return cls(loaded, read_side(alone, encoder.model))


def read_side(asked: OwnModel, model: Any) -> Reading:
    """Find how texts become what a model of token ids takes."""
    ids = read_inputs(model)
    tokens = find_source(asked.tokenizer, ids, ids.embedding_rows)
    number = max(tokens.tokenizer.get_vocab().values()) + 1
    return Reading(tokens, find_sequences(asked, ids, tokens, number))
