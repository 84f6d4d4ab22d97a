"""Loads a model of two texts: as two compared towers, or as a pair model."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from semserve_export.bundle.tolerance import TOLERANCE, keras_run
from semserve_export.errors import FidelityError, WeightsError
from semserve_export.keras_models.head import Loss
from semserve_export.keras_models.load import load_keras_model
from semserve_export.keras_models.proof import proof_texts
from semserve_export.model_spec import SIDES
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.tokenizers.bert_wordpiece import Encoding, pad
from semserve_export.towers.comparison import Comparison, Wide, agreeing, tells_apart
from semserve_export.towers.encoders import Encoder, encoder_of_ids, same_encoders
from semserve_export.towers.pair_model import load_pair_model
from semserve_export.towers.pairs import Pair, Reading, TowerProof, answers, make_pairs, read_side
from semserve_export.towers.served import (
    ModelSource,
    facts_of_towers,
    kept_facts,
    notes_of_scores,
    of_both,
)
from semserve_export.towers.transformers import as_embedder
from semserve_export.towers.two_texts import Tower, Towers, TwoTexts, find_towers


def load_two_texts(options: ModelOptions, texts: TwoTexts, source: ModelSource) -> LoadedModel:
    """Determine all properties of a model of two texts that an export needs.

    Raises:
        WeightsError: a property is unsupported, or cannot be determined.
        FidelityError: with the stated metric or tower, the similarity differs from the model's
            output.
    """
    closest: list[tuple[float, Comparison]] = []
    problems: list[WeightsError] = []
    compares = options.task in {None, "embedding"} and not (options.pair or options.text_order)
    for towers in find_towers(texts, options.tower) if compares else ():
        try:
            side = _Side.read(options, towers.left, source)
            other = side if same_encoders(towers.left, towers.right) else None
            other = other or _Side.read(options, towers.right, source)
            found = _compared(options, texts, towers, (side, other), closest)
        except WeightsError as error:
            if towers.comparison:
                raise
            problems.append(error)  # a tried layer may not be an encoder
            continue
        if found:
            return found
    _require_no_metric(options, closest, problems)
    return load_pair_model(options, texts, source)


@dataclass(frozen=True, slots=True)
class _Side:
    """One tower, loaded as an embedder of single texts."""

    loaded: LoadedModel
    reading: Reading
    model: Any  # of token ids

    @classmethod
    def read(cls, options: ModelOptions, tower: Tower, source: ModelSource) -> "_Side":
        encoder = encoder_of_ids(tower)
        alone = replace(
            options,
            tokenizer=_tokenizer(options, encoder),
            task="embedding",
            metric=None,
            pooling=None,
            tower=None,
            live=encoder.model,
        )
        reading = read_side(alone, encoder.model)
        alone = replace(alone, tokenizer=reading.tokens)  # computed once
        loaded = load_keras_model(
            alone,
            encoder.model,
            source=source.source,
            sha256=source.sha256,
            licence=source.licence,
            loss=Loss(),
        )
        return cls(loaded, reading, encoder.model)


def _tokenizer(options: ModelOptions, encoder: Encoder) -> Any:
    """Return the tokenizing layer of the model, or the tokenizer of the options.

    Raises:
        WeightsError: both exist, and differ.
    """
    if encoder.reader is None:
        return options.tokenizer
    if options.tokenizer is not None and options.tokenizer is not encoder.reader:
        raise WeightsError(
            f"tokenizer: the model holds its own, the layer {encoder.reader.name}; leave tokenizer"
            " out"
        )
    return encoder.reader


def _compared(
    options: ModelOptions,
    texts: TwoTexts,
    towers: Towers,
    sides: tuple[_Side, _Side],
    closest: list[tuple[float, Comparison]],
) -> LoadedModel | None:
    """Return the model if a comparison of the towers' vectors equals the model's output.

    Args:
        options: the options of the export.
        texts: the model of two texts.
        towers: a candidate division.
        sides: its two towers.
        closest: receives the best comparison of this candidate, with its difference.
    """
    left, right = sides
    if left.loaded.spec.truncation != right.loaded.spec.truncation:
        raise WeightsError("truncating: the two sides cut long texts on different ends")
    tokenizers = [side.loaded.tokenizer.to_str() for side in sides]
    if tokenizers[0] != tokenizers[1]:
        raise WeightsError(
            "the two sides have different tokenizers, and a bundle has one; export each side's"
            " encoder as a model of its own"
        )
    pairs, expected = _answered(texts, (left.reading, right.reading))
    rows = [_vectors(side, [pair[place] for pair in pairs]) for place, side in enumerate(sides)]
    chosen = [
        (one, distance)
        for one, distance in agreeing(rows[0], rows[1], expected)
        if (options.metric in {None, one.metric})
        and (towers.comparison in {None, one} or options.metric)
    ]
    if not chosen:
        return None
    comparison, distance = chosen[0]
    if not distance <= TOLERANCE or not (towers.comparison or tells_apart(expected)):
        closest.append((distance, comparison))
        return None
    return _served(
        options,
        texts,
        sides,
        TowerProof(
            pairs,
            expected,
            comparison,
            max(side.loaded.spec.max_sequence_length for side in sides),
            left.loaded.spec.truncation,
        ),
    )


def _answered(texts: TwoTexts, readings: tuple[Reading, Reading]) -> tuple[tuple[Pair, ...], Wide]:
    """Return pairs for which the model has a finite output, and the outputs: float64 [pairs]."""
    pairs = make_pairs(proof_texts(readings[0].tokens.words))
    values = answers(texts, readings, pairs)[:, 0].astype(np.float64)
    known = np.isfinite(values)
    return tuple(pair for pair, good in zip(pairs, known, strict=True) if good), values[known]


def _vectors(side: _Side, texts: list[str]) -> Any:
    """Run a tower on texts, each alone: fp32 [texts, width]."""
    run = keras_run(side.loaded.keras_model, side.loaded.spec.inputs)
    encodings = [Encoding(ids, [0] * len(ids)) for ids in side.reading.ids(texts)]
    return np.concatenate([run(pad([one], max(1, len(one)))) for one in encodings])


def _served(
    options: ModelOptions,
    texts: TwoTexts,
    sides: tuple[_Side, _Side],
    proof: TowerProof,
) -> LoadedModel:
    left, right = sides
    comparison = proof.comparison
    shared = left is right
    if shared:
        left = replace(left, loaded=as_embedder(left.loaded, left.model))
    metric = comparison.metric
    pooling = left.loaded.spec.pooling
    if options.pooling not in {None, pooling}:
        raise WeightsError(
            f"pooling: each tower gives one vector a text, by {pooling}; leave pooling out"
        )
    if metric == "dot" and all(side.loaded.spec.normalized for side in sides):
        metric = "cosine"  # equal for vectors of length 1
    spec = replace(
        left.loaded.spec,
        name=options.served_name,
        description=options.description
        or f"one tower of a model of two texts, compared by {metric}",
        metric=metric,
        max_sequence_length=proof.max_length,
    )
    model, texts_of_golden = left.loaded.keras_model, left.loaded.texts
    if not shared:
        spec = replace(spec, sides=SIDES, inputs=(*spec.inputs, "side"))
        model = of_both(left.loaded.keras_model, right.loaded.keras_model)
        half = max(1, len(texts_of_golden or ()) // 2)
        texts_of_golden = texts_of_golden[:half] if texts_of_golden else None
    return replace(
        left.loaded,
        spec=spec,
        keras_model=model,
        texts=texts_of_golden,
        facts=(
            *facts_of_towers(options, texts, comparison, shared=shared),
            *kept_facts(left.loaded.facts),
        ),
        proofs=(*(left.loaded.proofs if shared else ()), proof),
        notes=(*left.loaded.notes, *notes_of_scores(comparison)),
    )


def _require_no_metric(
    options: ModelOptions, closest: list[tuple[float, Comparison]], problems: list[WeightsError]
) -> None:
    """Refuse stated towers or metrics whose similarity differs from the model's output.

    Raises:
        FidelityError: the message contains the difference.
        WeightsError: there are no towers,
            or they cannot be read.
    """
    stated = {
        "metric": options.metric is not None,
        "tower": options.tower is not None,
        "normalize": options.normalize is not None,
        "task": options.task == "embedding",
    }
    if not any(stated.values()):
        return
    named = next(name for name, is_stated in stated.items() if is_stated)
    if not closest and problems:
        raise problems[0]
    if not closest:
        raise WeightsError(
            f"{named}: the model has no two encoders whose vectors are compared, so it cannot be"
            " served as an embedding model; leave metric, tower, normalize and task out to export"
            " it as a model of pairs"
        )
    distance, comparison = min(closest, key=lambda one: one[0])
    raise FidelityError(
        f"{named}: {comparison.metric} of the towers' vectors differs from the model's own answers"
        f" by up to {distance:.2g}, at most {TOLERANCE:.0e} is allowed; nothing was written"
    )
