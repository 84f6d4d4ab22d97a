"""Golden answers: the outputs of Keras for some texts, which a server must reproduce."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from semserve_export.bundle.layout import GOLDEN
from semserve_export.bundle.tolerance import TOLERANCE, Rows, Run, scaled_difference
from semserve_export.errors import BundleError
from semserve_export.model_spec import HYPOTHESIS_FIRST, ModelSpec, PairTruncation
from semserve_export.tokenizers.bert_wordpiece import (
    Encoding,
    Text,
    encode,
    encode_separately,
    pad,
)
from semserve_export.tokenizers.sample_texts import PAIRS, TEXTS

SCHEMA_VERSION = 1
PADDED_ENTRIES = 4  # in a padded batch, as in the server's check
PROMPTED = ("Does this train stop in the old town?", "a")
"""Texts that get a golden answer with each prompt of a model."""


def golden_texts(spec: ModelSpec, texts: Sequence[Text] | None = None) -> tuple[Text, ...]:
    """Return the texts or pairs of the golden answers of a model.

    For a model with prompts, some texts begin with a prompt, as the server passes them to the
    model.

    Args:
        spec: of the model.
        texts: texts to use instead of the default ones.
    """
    texts = texts or (PAIRS if spec.pair else TEXTS)
    prompts = dict.fromkeys(filter(None, (spec.prompts or {}).values()))
    return *texts, *(f"{prompt}{text}" for prompt in prompts for text in PROMPTED)


def golden_answers(
    spec: ModelSpec, tokenizer: Tokenizer, run: Run, texts: Sequence[Text] | None = None
) -> dict[str, Any]:
    """Run Keras on each text alone, without padding, and return the content of golden.json.

    Args:
        spec: of the model.
        tokenizer: of the bundle.
        run: the Keras model.
        texts: texts to use instead of the default ones.
    """
    cases = []
    for text, encoding in golden_encodings(spec, tokenizer, golden_texts(spec, texts)):
        (row,) = run(pad([encoding]))
        cases.append(
            {
                **_named(text),
                **({"side": spec.sides[encoding.side or 0]} if spec.sides else {}),
                "token_ids": list(encoding.token_ids),
                "segment_ids": list(encoding.segment_ids),
                **({"token_ids_right": list(encoding.right or ())} if spec.separate else {}),
                spec.output: _sparse(row) if spec.output == "weights" else _numbers(row),
            }
        )
    return {"schema_version": SCHEMA_VERSION, "tolerance": TOLERANCE, "cases": cases}


def golden_encodings(
    spec: ModelSpec, tokenizer: Tokenizer, texts: Sequence[Text]
) -> list[tuple[Text, Encoding]]:
    """Tokenise texts for the model; each text twice if each side has its own encoder."""
    sides: Sequence[int | None] = range(len(spec.sides)) if spec.sides else (None,)
    encodings = encode_texts(
        tokenizer,
        texts,
        spec.max_sequence_length,
        separate=spec.separate,
        hypothesis_first=spec.hypothesis_first,
        pair_truncation=spec.pair_truncation,
    )
    return [
        (text, replace(encoding, side=side))
        for side in sides
        for text, encoding in zip(texts, encodings, strict=True)
    ]


def encode_texts(
    tokenizer: Tokenizer,
    texts: Iterable[Text],
    max_length: int,
    *,
    separate: bool,
    hypothesis_first: bool,
    pair_truncation: PairTruncation,
) -> list[Encoding]:
    """Tokenise texts or pairs; a pair as one sequence, or as two."""
    if separate:
        pairs = [text for text in texts if not isinstance(text, str)]
        return encode_separately(tokenizer, pairs, max_length, hypothesis_first=hypothesis_first)
    return encode(
        tokenizer,
        texts,
        max_length,
        hypothesis_first=hypothesis_first,
        pair_truncation=pair_truncation,
    )


def encode_cases(
    tokenizer: Tokenizer, cases: Sequence[dict[str, Any]], manifest: Mapping[str, Any]
) -> list[Encoding]:
    """Tokenise the golden cases of a bundle as the server does."""
    encodings = encode_texts(
        tokenizer,
        map(case_text, cases),
        manifest["max_sequence_length"],
        separate=manifest.get("pair_inputs") == "separate",
        hypothesis_first=manifest.get("text_order") == list(HYPOTHESIS_FIRST),
        pair_truncation=manifest.get("pair_truncation") or "longest_first",
    )
    sides = manifest.get("sides")
    return [
        replace(encoding, side=sides.index(case.get("side")) if sides else None)
        for encoding, case in zip(encodings, cases, strict=True)
    ]


def golden_differences(
    expected: Rows, encodings: Sequence[Encoding], run: Run
) -> tuple[float, float]:
    """Run the golden cases as the server does when it loads the bundle.

    Args:
        expected: fp32 [cases, outputs], as `golden_rows` reads them.
        encodings: the encodings of the cases, by the bundle's tokenizer.
        run: the graph.

    Returns:
        `scaled_difference` of the rows that ran alone, and of those that ran in padded batches of
        `PADDED_ENTRIES`.
    """
    alone = np.concatenate([run(pad([encoding])) for encoding in encodings])
    batches = [
        encodings[start : start + PADDED_ENTRIES]
        for start in range(0, len(encodings), PADDED_ENTRIES)
    ]
    padded = np.concatenate([run(pad(batch)) for batch in batches])
    return scaled_difference(alone, expected), scaled_difference(padded, expected)


def golden_rows(cases: Sequence[Mapping[str, Any]], output: str, outputs: int) -> Rows:
    """Read the answers of golden.json: fp32 [cases, outputs].

    Args:
        cases: of golden.json.
        output: name of the graph's output, which is also a field of each case.
        outputs: size of a row of the model.

    Raises:
        BundleError: a row of a case has another size.
    """
    rows = np.zeros((len(cases), outputs), np.float32)
    for place, case in enumerate(cases):
        values: Any = case[output]
        indices: Any = slice(None)
        if output == "weights":
            values, indices = values["values"], values["indices"]
            wrong = len(values) != len(indices) or max(indices, default=0) >= outputs
        else:
            wrong = len(values) != outputs
        if wrong:
            raise BundleError(f"{GOLDEN}: cases[{place}] has other outputs")
        rows[place, indices] = values
    return rows


def case_text(case: dict[str, Any]) -> Text:
    """Return the text, or the pair, of a golden case."""
    return case["text"] if "text" in case else (case["premise"], case["hypothesis"])


def _numbers(row: Rows) -> list[float]:
    return [float(np.float32(value)) for value in row]


def _sparse(row: Rows) -> dict[str, Any]:
    """Return the indices and the values of the numbers that are not 0."""
    (indices,) = np.nonzero(row)
    return {"indices": indices.tolist(), "values": _numbers(row[indices])}


def _named(text: Text) -> dict[str, str]:
    if isinstance(text, str):
        return {"text": text}
    premise, hypothesis = text
    return {"premise": premise, "hypothesis": hypothesis}
