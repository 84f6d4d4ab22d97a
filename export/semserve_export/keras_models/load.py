"""Loads a Keras model of token ids or texts, in memory or from a file, as a model to export."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from semserve_export.bundle.text_order import TextsOfInput, texts_of_input
from semserve_export.bundle.tolerance import Rows
from semserve_export.errors import WeightsError
from semserve_export.keras_models.head import (
    Loss,
    apply_scores,
    as_logits,
    read_keras_head,
    read_pooling,
)
from semserve_export.keras_models.id_model import IdModel, read_inputs
from semserve_export.keras_models.proof import Proof, proof_texts
from semserve_export.keras_models.sequences.detection import find_sequences
from semserve_export.keras_models.sequences.sequence_format import (
    FREE_LENGTH,
    SequenceFormat,
    SequenceLayer,
)
from semserve_export.keras_models.task import TaskReading, read_task
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.keras_models.tokenizer_sources import find_source
from semserve_export.model_spec import (
    HYPOTHESIS_FIRST,
    INPUTS,
    INPUTS_WITHOUT_SEGMENTS,
    ModelSpec,
)
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.report import Fact, Origin
from semserve_export.tokenizers.bert_wordpiece import Text, encode
from semserve_export.tokenizers.sample_texts import PAIRS

Flags = npt.NDArray[np.bool_]
SHORTEST_LIMIT = 3  # tokens: the smallest max_sequence_length of the server
MOST_GOLDEN = 24  # texts
SEGMENTS = INPUTS[1]


def load_keras_model(
    options: ModelOptions,
    given: Any,
    *,
    source: str,
    licence: str,
    sha256: str | None = None,
    loss: Loss | None = None,
) -> LoadedModel:
    """Determine all properties of a Keras model that an export needs.

    Args:
        options: the options of the export.
        given: the model.
        source: the origin of the model, for messages.
        licence: the text of the bundle's LICENSE.
        sha256: digest of the model's file.
        loss: loss of its training, if it is known and the model is not compiled.

    Raises:
        WeightsError: a property is unsupported, contradicts the options, or cannot be determined;
            the message is one line that names it.
    """
    model = read_inputs(given)
    tokens = find_source(options.tokenizer, model, model.embedding_rows)
    tokens.require_agreement()
    ids = _number_of_ids(tokens, model)
    sequences = find_sequences(options, model, tokens, ids)
    taken = _texts_of_input(options, tokens, sequences)
    options = replace(options, pair=False, text_order=None)
    texts: tuple[Text, ...] = PAIRS if taken.pair else proof_texts(tokens.words)
    if taken.pair:
        rows, blank = _answers_on_pairs(model, tokens, sequences, taken)
    else:
        rows, blank = _answers(model, tokens, sequences, proof_texts(tokens.words))
    loss = loss or Loss.of_model(given)
    answered = rows if blank.all() else rows[~blank]
    head = read_keras_head(model.model, answered, loss, options.scores)
    rows[blank] = apply_scores(np.zeros_like(rows[blank]), head.scores)
    if options.pooling == read_pooling(model.model):  # as in the manifest of an exported bundle
        options = replace(options, pooling=None)
    task_reading = read_task(options, head, rows, loss)
    if taken.pair and task_reading.task == "embedding":
        raise WeightsError("pair: is for a classifier or a score, and the model is an embedder")
    says_order = tokens.joins_pairs and task_reading.task != "embedding"
    inputs = INPUTS if taken.pair and SEGMENTS in model.names else INPUTS_WITHOUT_SEGMENTS
    served = _serve(model, sequences, task_reading, inputs, blank=bool(blank.any()))
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"{task_reading.task} by a Keras model, {given.name}",
        task=task_reading.task,
        max_sequence_length=max(SHORTEST_LIMIT, sequences.max_tokens),
        pooling=read_pooling(model.model) if task_reading.task == "embedding" else None,
        normalized=task_reading.normalized,
        metric=task_reading.metric,
        labels=task_reading.labels,
        scores=task_reading.scores,
        pair=taken.pair,
        text_order=taken.order,
        pair_truncation=tokens.pair_truncation,
        inputs=inputs,
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
        facts=(
            *task_reading.facts,
            *(taken.facts if says_order else ()),
            *_facts(options, tokens, sequences, blank=bool(blank.any())),
        ),
        notes=taken.notes if says_order else (),
        proofs=(Proof(spec, texts, task_reading.expected(rows), head.scores),),
        texts=_golden(tokens, sequences, texts),
    )


def _number_of_ids(tokens: TokenSource, model: IdModel) -> int:
    """Return the number of ids of the tokenizer.

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


def _texts_of_input(
    options: ModelOptions, tokens: TokenSource, sequences: SequenceFormat
) -> TextsOfInput:
    """Determine whether the model takes one text, or a pair as one sequence.

    Raises:
        WeightsError: the options specify pairs, and the tokenizer cannot join two texts.
    """
    if options.takes_pairs and not tokens.joins_pairs:
        name = "text_order" if options.text_order else "pair"
        raise WeightsError(
            f"{name}: {tokens.title} puts no separator between two texts, so the model takes one"
        )
    if options.takes_pairs and sequences.truncating == "pre":
        raise WeightsError("truncating: pairs lose their end, and pre is asked for")
    return texts_of_input(options)


def _answers_on_pairs(
    model: IdModel, tokens: TokenSource, sequences: SequenceFormat, taken: TextsOfInput
) -> tuple[Rows, Flags]:
    """Run the model on `PAIRS`, each alone and as one sequence; as `_answers`."""
    first = taken.order == HYPOTHESIS_FIRST
    encodings = encode(
        tokens.tokenizer,
        PAIRS,
        sequences.max_tokens,
        hypothesis_first=first,
        pair_truncation=tokens.pair_truncation,
    )
    rows = [
        model.predict(*sequences.row(one.token_ids), sequences.of_mask.row(one.segment_ids)[0])
        for one in encodings
    ]
    if not all(np.isfinite(row).all() for row in rows):
        raise WeightsError("the model answers a pair of texts with NaN or infinity")
    return np.concatenate(rows), np.zeros(len(rows), np.bool_)


def _answers(
    model: IdModel, tokens: TokenSource, sequences: SequenceFormat, texts: tuple[str, ...]
) -> tuple[Rows, Flags]:
    """Run the model on texts, each alone, with the padding of its training.

    Returns:
        Its outputs, fp32 [texts, outputs], and a mask of texts without an output, bool [texts],
        whose rows are zeros. A text without a token may have no output.

    Raises:
        WeightsError: an output is NaN or infinite.
    """
    rows, blank = [], []
    whole = tokens.read(texts)
    read = tokens.read_cut(texts, sequences.max_tokens, sequences.truncating)
    for text, ids, all_ids in zip(texts, read, whole, strict=True):
        # A model of texts has no limit if its sequences have no fixed length.
        if model.vectorization is not None and (
            sequences.length or 0 < len(all_ids) <= sequences.max_tokens
        ):
            row = model.predict_text(text)
        else:
            row = model.predict(*sequences.row(ids))
        blank.append(not np.isfinite(row).all())
        if blank[-1] and len(ids):
            raise WeightsError(f"the model answers {text[:60]!a} with NaN or infinity")
        rows.append(np.zeros_like(row) if blank[-1] else row)
    return np.concatenate(rows), np.array(blank)


def _serve(
    model: IdModel,
    sequences: SequenceFormat,
    task_reading: TaskReading,
    names: tuple[str, ...],
    *,
    blank: bool,
) -> Any:
    """Build the model to serve: inputs int32 [batch, sequence], output fp32 [batch, outputs].

    Args:
        model: the model.
        sequences: the padding and truncation of its sequences.
        task_reading: what it is for.
        names: names of the inputs.
        blank: whether the output for a text without a token is zeros.
    """
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    token_ids, padding_mask = (inputs[name] for name in INPUTS_WITHOUT_SEGMENTS)
    ids = SequenceLayer(sequences)(token_ids, padding_mask)
    mask = SequenceLayer(sequences.of_mask)(padding_mask, padding_mask)
    segments = ops.zeros_like(ids)
    if SEGMENTS in inputs:
        segments = SequenceLayer(sequences.of_mask)(inputs[SEGMENTS], padding_mask)
    head = task_reading.head
    there = ops.sum(padding_mask, axis=1, keepdims=True) > 0
    if blank:
        # Another id is used instead, because tf2onnx converts `where` to products, and 0 * NaN is
        # NaN.
        ids = ops.where(there, ids, 1 if sequences.pad_id == 0 else 0)
        mask = ops.where(there, mask, 1)
    outputs = model.call(head.body or model.model, ids, mask, segments)
    if len(outputs.shape) == 1:
        outputs = ops.expand_dims(outputs, 1)
    if head.scores and head.body is None:
        outputs = as_logits(outputs, head.scores)
    if blank:
        outputs = ops.where(there, outputs, 0.0)
    if task_reading.normalize:
        outputs = keras.layers.UnitNormalization()(outputs)
    return keras.Model(inputs, ops.cast(outputs, "float32"))


def _golden(
    tokens: TokenSource, sequences: SequenceFormat, texts: tuple[Text, ...]
) -> tuple[Text, ...]:
    """Return the texts of golden answers: those that have a token, and are not truncated."""
    lengths = [len(encoding.ids) for encoding in tokens.tokenizer.encode_batch_fast(list(texts))]
    fit = [
        text
        for text, size in zip(texts, lengths, strict=True)
        if text and 0 < size <= sequences.max_tokens
    ]
    return tuple(fit[:MOST_GOLDEN])


def _facts(
    options: ModelOptions, tokens: TokenSource, sequences: SequenceFormat, *, blank: bool
) -> tuple[Fact, ...]:
    if sequences.length is None:
        padding = Fact("padding", "of any length; it changes no answer")
    else:
        stated = options.padding or options.padded_length
        value = f"{sequences.padding}, to {sequences.length} tokens"
        value += f", with id {sequences.pad_id}" if sequences.pad_id else ""
        padding = Fact("padding", value, "stated" if stated else "found")
    cut = "start" if sequences.truncating == "pre" else "end"
    if options.truncating or options.max_sequence_length:
        origin: Origin = "stated"
    else:
        origin = "found" if tokens.truncating and sequences.max_tokens != FREE_LENGTH else "assumed"
    facts = [
        Fact("tokenizer", tokens.title, tokens.origin),
        *tokens.facts,
        padding,
        Fact("a long text loses", f"its {cut}, past {sequences.max_tokens} tokens", origin),
    ]
    if blank:
        facts.append(Fact("a text without a token", "zeros as output; Keras gives NaN", "assumed"))
    return tuple(facts)
