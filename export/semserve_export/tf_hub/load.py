"""Loads a SavedModel of TF Hub as an embedder to export, and compares the bundle with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tokenizers import Tokenizer

from semserve_export.bundle.layout import GRAPH
from semserve_export.bundle.option_rules import require_no_padding
from semserve_export.bundle.tolerance import TOLERANCE, Rows, onnx_run, scaled_difference
from semserve_export.errors import WeightsError
from semserve_export.files.preset_digest import digest_of
from semserve_export.model_spec import INPUTS as BUNDLE_INPUTS
from semserve_export.model_spec import ModelSpec
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.report import Fact, Measure
from semserve_export.tf_hub.encoder import (
    INPUTS,
    POOLED,
    TOKENS,
    PaddedTo,
    SavedEncoder,
    SavedEncoderLayer,
    read_saved_model,
)
from semserve_export.tokenizers.bert_wordpiece import (
    Inputs,
    encode,
    pad,
    read_vocabulary,
)
from semserve_export.tokenizers.sample_texts import TEXTS
from semserve_export.tokenizers.tf_text_bert import build_tf_text_bert, differing_texts

POOLINGS = {"pooled": POOLED, "cls": TOKENS, "mean": TOKENS}
"""The output that each pooling reads."""
VOCABULARY = "vocab.txt"
TOGETHER = 7  # texts in a batch of the comparison
TRUST = (
    "a SavedModel is a program, and TensorFlow runs it to read it: export it with trust=True"
    " (--trust) if you trust its author"
)


def load_saved_model(options: ModelOptions, licence: str) -> LoadedModel:
    """Load a SavedModel.

    Args:
        options: options with the path of its directory.
        licence: the text of the bundle's LICENSE.

    Raises:
        WeightsError: it is not trusted, has another form, or a required setting is missing.
    """
    if not options.trust:
        raise WeightsError(TRUST)
    _require_embedder(options)
    require_no_padding(options)
    directory = Path(options.path)
    encoder = read_saved_model(directory)
    pooling = _pooling(options, encoder)
    length = _length(options, encoder)
    vocabulary, lowercase, origin = _vocabulary(options, directory, encoder)
    tokenizer = build_tf_text_bert(vocabulary, lowercase=lowercase)
    if odd := differing_texts(tokenizer, vocabulary, lowercase=lowercase):
        raise WeightsError(
            f"tokenizer.json reads {odd[0]!a} otherwise than TensorFlow Text does, and"
            f" {len(odd) - 1} further texts; give the tokenizer as tokenizer="
        )
    inputs = tuple(served for served in BUNDLE_INPUTS if served in set(_named(encoder).values()))
    model = _embedder(encoder, inputs, pooling, normalize=bool(options.normalize))
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"embeddings by {options.title}",
        task="embedding",
        max_sequence_length=length,
        pooling=pooling,
        normalized=bool(options.normalize),
        metric=options.metric or "cosine",
        inputs=inputs,
    )
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=tokenizer,
        source=options.title,
        sha256=digest_of(_files(directory)),
        licence=licence,
        notice=f"{spec.name}: exported by semserve-export from the SavedModel {options.title}.\n",
        facts=(
            Fact("form", f"SavedModel, {', '.join(_named(encoder))} to {POOLINGS[pooling]}"),
            Fact("pooling", pooling, "stated" if options.pooling else "assumed"),
            Fact("metric", spec.metric or "", "stated" if options.metric else "assumed"),
            Fact("vocabulary", f"{len(vocabulary)} word-pieces, {origin}"),
            Fact("letters", "lower case, without accents" if lowercase else "as they are"),
        ),
        proofs=(SavedModelProof(encoder, tokenizer, spec),),
    )


@dataclass(frozen=True, slots=True)
class SavedModelProof:
    """Compares a bundle's graph with the signature of the SavedModel, on texts."""

    encoder: SavedEncoder
    tokenizer: Tokenizer
    spec: ModelSpec

    def __call__(self, directory: Path) -> Measure:
        """Run both on texts alone, together and with additional padding."""
        run, spec = onnx_run(directory / GRAPH), self.spec
        encodings = encode(self.tokenizer, TEXTS, spec.max_sequence_length)
        alone = [[one] for one in encodings]
        together = [
            encodings[start : start + TOGETHER] for start in range(0, len(encodings), TOGETHER)
        ]
        padded = min(max(map(len, encodings)) + 9, spec.max_sequence_length)
        batches = [pad(batch) for batch in (*alone, *together)] + [pad(encodings, padded)]
        differences = [scaled_difference(run(batch), self._expected(batch)) for batch in batches]
        return Measure(
            f"the SavedModel on {len(encodings)} texts, alone and in padded batches",
            float(np.max(differences)),
            TOLERANCE,
        )

    def _expected(self, batch: Inputs) -> Rows:
        """Run the signature, and pool its output in numpy."""
        length = self.encoder.length or batch["token_ids"].shape[1]
        given = {
            name: np.pad(batch[served], ((0, 0), (0, length - batch[served].shape[1])))
            for name, served in _named(self.encoder).items()
        }
        found = self.encoder({name: tf.constant(value) for name, value in given.items()})
        rows = np.asarray(found[POOLINGS[str(self.spec.pooling)]], np.float32)
        if self.spec.pooling == "cls":
            rows = rows[:, 0]
        if self.spec.pooling == "mean":
            mask = np.pad(
                batch["padding_mask"], ((0, 0), (0, length - batch["padding_mask"].shape[1]))
            )
            rows = (rows * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
        if self.spec.normalized:
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows, np.float32)


def _require_embedder(options: ModelOptions) -> None:
    if options.task not in {None, "embedding"}:
        raise WeightsError(f"task: a SavedModel of a BERT gives embeddings, and no {options.task}")
    given = {
        "labels": options.labels,
        "scores": options.scores,
        "pair": options.pair,
        "tower": options.tower,
    }
    for name, value in given.items():
        if value:
            raise WeightsError(f"{name}: a SavedModel of a BERT gives embeddings of single texts")


def _pooling(options: ModelOptions, encoder: SavedEncoder) -> str:
    """Return the requested pooling; by default `pooled`, as in TF Hub."""
    pooling = options.pooling or ("pooled" if POOLED in encoder.outputs else "mean")
    if pooling not in POOLINGS:
        raise WeightsError(f"pooling: {pooling!r} is none of a SavedModel's: {', '.join(POOLINGS)}")
    if POOLINGS[pooling] not in encoder.outputs:
        raise WeightsError(
            f"pooling: {pooling} needs the output {POOLINGS[pooling]}, and the SavedModel gives"
            f" {', '.join(encoder.outputs)}"
        )
    return pooling


def _length(options: ModelOptions, encoder: SavedEncoder) -> int:
    """Return the maximum length: from the signature, the table of positions, or the options."""
    if encoder.batch is not None:
        raise WeightsError(
            f"the SavedModel takes batches of {encoder.batch} texts alone; save it with a signature"
            " of [None, None]"
        )
    positions = [
        int(variable.shape[0])
        for variable in encoder.signature.variables
        if "position" in variable.name and len(variable.shape) == 2  # noqa: PLR2004
    ]
    most = encoder.length or min(positions, default=0) or None
    if most is None and options.max_sequence_length is None:
        raise WeightsError(
            "max_length: the SavedModel does not tell how many tokens it takes; pass it"
            " (--max-sequence-length)"
        )
    if most and options.max_sequence_length and options.max_sequence_length > most:
        raise WeightsError(f"max_length: the SavedModel takes at most {most} tokens")
    return options.max_sequence_length or int(most or 0)


def _vocabulary(
    options: ModelOptions, directory: Path, encoder: SavedEncoder
) -> tuple[list[str], bool, str]:
    """Return the word-pieces, whether to convert to lower case, and the source of the pieces."""
    given = options.tokenizer
    if given is None:
        file, origin = directory / "assets" / VOCABULARY, f"from assets/{VOCABULARY}"
        if not file.is_file():
            raise WeightsError(
                f"holds no assets/{VOCABULARY}; give the vocabulary file of its training as"
                " tokenizer= (--tokenizer)"
            )
    elif isinstance(given, str | Path):
        file, origin = Path(given), "given"
        if file.is_dir():
            file = file / VOCABULARY
        if not file.is_file():
            raise WeightsError(f"tokenizer: {file}: no such file of word-pieces, one a line")
    else:
        raise WeightsError("tokenizer: of a SavedModel it is the path of its vocab.txt")
    pieces = read_vocabulary(file)
    lowercase = getattr(encoder.program, "do_lower_case", None)
    if lowercase is not None:
        return pieces, bool(np.asarray(lowercase)), origin
    return pieces, not any(any(map(str.isupper, one)) for one in pieces if one[:1] != "["), origin


def _embedder(
    encoder: SavedEncoder, inputs: tuple[str, ...], pooling: str, *, normalize: bool
) -> Any:
    given = {name: keras.Input((None,), dtype="int32", name=name) for name in inputs}
    rows = SavedEncoderLayer(encoder, POOLINGS[pooling])(given)
    if pooling == "cls":
        rows = rows[:, 0]
    if pooling == "mean":
        rows = _mean(rows, given["padding_mask"], encoder.length)
    return keras.Model(given, ops.normalize(rows) if normalize else rows)


def _mean(rows: Any, mask: Any, length: int | None) -> Any:
    """Return the mean of the tokens' vectors; `rows` may have a fixed length."""
    if length is not None:
        mask = PaddedTo(length)(mask)
    weights = ops.expand_dims(ops.cast(mask, "float32"), -1)
    return ops.sum(rows * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1e-9)


def _named(encoder: SavedEncoder) -> dict[str, str]:
    return {name: served for name, served in INPUTS.items() if name in encoder.inputs}


def _files(directory: Path) -> list[Path]:
    files = [directory / "saved_model.pb", *sorted((directory / "variables").glob("variables.*"))]
    return [file for file in files if file.is_file()]
