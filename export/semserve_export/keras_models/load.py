"""A Keras model of token ids or words, live or from a file, as a model to export."""

from typing import Any

import keras
import numpy as np
from keras import ops

from semserve_export.bundle.tolerance import Rows
from semserve_export.errors import WeightsError
from semserve_export.keras_models.head import as_logits, read_head, read_pooling
from semserve_export.keras_models.id_model import IdModel, read_inputs
from semserve_export.keras_models.proof import Proof, proof_texts
from semserve_export.keras_models.sequences import SequenceLayout, Sequences, find_sequences
from semserve_export.keras_models.task import Understood, understand
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.keras_models.tokenizer_sources import find_source
from semserve_export.model_spec import INPUTS_WITHOUT_SEGMENTS, ModelSpec
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import OwnModel
from semserve_export.report import Fact

SHORTEST_LIMIT = 3  # tokens: the server takes no smaller max_sequence_length
MOST_GOLDEN = 24  # texts


def load_keras_model(
    asked: OwnModel,
    given: Any,
    *,
    source: str,
    licence: str,
    sha256: str | None = None,
    loss: Any = None,
) -> LoadedModel:
    """Find out all that an export needs to know of a Keras model.

    Args:
        asked: what the caller says of it.
        given: the model.
        source: where it comes from, for people.
        licence: the text of the bundle's LICENSE.
        sha256: of its file.
        loss: of its training, where it is known and the model is not compiled.

    Raises:
        WeightsError: something of it cannot be honoured, contradicts what the caller says, or
            cannot be known; one line names it.
    """
    model = read_inputs(given)
    tokens = find_source(asked.tokenizer, model, model.embedding_rows)
    tokens.require_agreement()
    ids = _number_of_ids(tokens, model)
    sequences = find_sequences(asked, model, tokens, ids)
    texts = proof_texts(tokens.words)
    rows, blank = _answers(model, tokens, sequences, texts)
    head = read_head(model.model, rows)
    understood = understand(asked, head, rows, loss or getattr(given, "loss", None))
    served = _serve(model, sequences, understood, blank=blank)
    spec = ModelSpec(
        name=asked.served_name,
        description=asked.description or f"{understood.task} by a Keras model, {given.name}",
        task=understood.task,
        max_sequence_length=max(SHORTEST_LIMIT, sequences.most),
        pooling=read_pooling(model.model) if understood.task == "embedding" else None,
        normalized=understood.normalized,
        metric=understood.metric,
        labels=understood.labels,
        scores=understood.scores,
        inputs=INPUTS_WITHOUT_SEGMENTS,
        truncation="start" if sequences.truncating == "pre" else "end",
    )
    return LoadedModel(
        spec=spec,
        keras_model=served,
        tokenizer=tokens.tokenizer,
        source=source,
        sha256=sha256,
        licence=licence,
        notice=f"{spec.name}: exported by semserve-export from {source}.\n",
        facts=(*understood.facts, *_facts(tokens, sequences, blank=blank)),
        proofs=(Proof(spec, texts, understood.expected(rows), head.scores),),
        texts=_golden(tokens, sequences, texts),
    )


def _number_of_ids(tokens: TokenSource, model: IdModel) -> int:
    """Return how many ids the tokenizer gives.

    Raises:
        WeightsError: the model has no vectors for some of them.
    """
    ids = max(tokens.tokenizer.get_vocab().values()) + 1
    if model.embedding_rows is not None and ids > model.embedding_rows:
        raise WeightsError(
            f"tokenizer: {tokens.title} gives ids up to {ids - 1}, and the model's Embedding has"
            f" {model.embedding_rows} rows"
        )
    return ids


def _answers(
    model: IdModel, tokens: TokenSource, sequences: Sequences, texts: tuple[str, ...]
) -> tuple[Rows, bool]:
    """Ask the model about texts, each alone, laid out as in its training.

    Returns:
        Its outputs, fp32 [texts, outputs], and whether it has none for a text without a token:
        those are zeros in their place.

    Raises:
        WeightsError: it gives no vector a text, or numbers that are none.
    """
    rows, blank = [], False
    for text, ids in zip(texts, tokens.read(texts), strict=True):
        row = model.predict(*sequences.row(ids))
        if row.ndim != 2:  # noqa: PLR2004 - batch and outputs
            raise WeightsError(
                f"the model's output has the shape {('batch', *row.shape[1:])}; a text needs one"
                " vector: end the model in a pooling layer, or take its last state"
            )
        if not np.isfinite(row).all():
            if len(ids):
                raise WeightsError(f"the model answers {text[:60]!a} with NaN or infinity")
            row, blank = np.zeros_like(row), True
        rows.append(row)
    return np.concatenate(rows), blank


def _serve(model: IdModel, sequences: Sequences, understood: Understood, *, blank: bool) -> Any:
    """Build the model that is served: int32 [batch, sequence] twice, fp32 [batch, outputs] out.

    Args:
        model: the model.
        sequences: how its sequences are laid out.
        understood: what it is for.
        blank: whether a text without a token gives zeros.
    """
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in (INPUTS_WITHOUT_SEGMENTS)
    }
    token_ids, padding_mask = inputs.values()
    ids = SequenceLayout(sequences)(token_ids, padding_mask)
    mask = SequenceLayout(sequences.of_mask)(padding_mask, padding_mask)
    head = understood.head
    there = ops.sum(padding_mask, axis=1, keepdims=True) > 0
    if blank:
        # Another id stands in, as tf2onnx makes products of `where`, and 0 * NaN is NaN.
        ids = ops.where(there, ids, 1 if sequences.pad_id == 0 else 0)
        mask = ops.where(there, mask, 1)
    outputs = model.call(head.body or model.model, ids, mask)
    if len(outputs.shape) == 1:
        outputs = ops.expand_dims(outputs, 1)
    if head.scores and head.body is None:
        outputs = as_logits(outputs, head.scores)
    if blank:
        outputs = ops.where(there, outputs, 0.0)
    if understood.normalize:
        outputs = keras.layers.UnitNormalization()(outputs)
    return keras.Model(inputs, ops.cast(outputs, "float32"))


def _golden(tokens: TokenSource, sequences: Sequences, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of golden answers: those that have a token, and lose none."""
    lengths = [len(encoding.ids) for encoding in tokens.tokenizer.encode_batch_fast(list(texts))]
    fit = [text for text, size in zip(texts, lengths, strict=True) if 0 < size <= sequences.most]
    return tuple(fit[:MOST_GOLDEN])


def _facts(tokens: TokenSource, sequences: Sequences, *, blank: bool) -> tuple[Fact, ...]:
    if sequences.length is None:
        padding = "of any length; it changes no answer"
    else:
        padding = f"{sequences.padding}, to {sequences.length} tokens"
    cut = "start" if sequences.truncating == "pre" else "end"
    facts = [
        Fact("tokenizer", tokens.title, "found" if tokens.origin == "found" else "stated"),
        *tokens.facts,
        Fact("padding", padding),
        Fact("a long text loses", f"its {cut}, past {sequences.most} tokens"),
    ]
    if blank:
        facts.append(Fact("a text without a token", "zeros, where Keras gives NaN"))
    return tuple(facts)
