"""Golden answers: what Keras itself says about a few texts, for the server to check itself by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from semserve_export.bundle.tolerance import TOLERANCE, Run, scaled_difference
from semserve_export.model_spec import ModelSpec
from semserve_export.tokenizers.bert_wordpiece import Encoding, Text, encode, pad
from semserve_export.tokenizers.sample_texts import PAIRS, TEXTS

SCHEMA_VERSION = 1
PADDED_ENTRIES = 4  # of a padded batch, as in the server's check


def golden_texts(spec: ModelSpec) -> tuple[Text, ...]:
    """Return the texts, or the pairs, that suit the model."""
    return PAIRS if spec.pair else TEXTS


def golden_answers(
    spec: ModelSpec, tokenizer: Tokenizer, run: Run, texts: Sequence[Text] | None = None
) -> dict[str, Any]:
    """Ask Keras about each text alone and unpadded, and return golden.json's content.

    Args:
        spec: of the model.
        tokenizer: of the bundle.
        run: the Keras model.
        texts: what it is asked about; `golden_texts` where None.
    """
    cases = []
    for text in texts or golden_texts(spec):
        (encoding,) = encode(tokenizer, [text], spec.max_sequence_length)
        (row,) = run(pad([encoding]))
        cases.append(
            {
                **_named(text),
                "token_ids": list(encoding.token_ids),
                "segment_ids": list(encoding.segment_ids),
                spec.output: [float(np.float32(value)) for value in row],
            }
        )
    return {"schema_version": SCHEMA_VERSION, "tolerance": TOLERANCE, "cases": cases}


def golden_differences(
    cases: Sequence[dict[str, Any]], output: str, encodings: Sequence[Encoding], run: Run
) -> tuple[float, float]:
    """Run the golden cases as the server does before it serves.

    Args:
        cases: of golden.json.
        output: the name of the graph's output, which is a case's field too.
        encodings: of the cases, by the bundle's tokenizer.
        run: the graph.

    Returns:
        `scaled_difference` of the rows that were run one by one, and of those that were run in
        padded batches of `PADDED_ENTRIES`.
    """
    expected = np.array([case[output] for case in cases], np.float32)
    alone = np.concatenate([run(pad([encoding])) for encoding in encodings])
    batches = [
        encodings[start : start + PADDED_ENTRIES]
        for start in range(0, len(encodings), PADDED_ENTRIES)
    ]
    padded = np.concatenate([run(pad(batch)) for batch in batches])
    return scaled_difference(alone, expected), scaled_difference(padded, expected)


def case_text(case: dict[str, Any]) -> Text:
    """Return the text, or the pair, of a golden case."""
    return case["text"] if "text" in case else (case["premise"], case["hypothesis"])


def _named(text: Text) -> dict[str, str]:
    if isinstance(text, str):
        return {"text": text}
    premise, hypothesis = text
    return {"premise": premise, "hypothesis": hypothesis}
