"""Compares the predict method of a model with the bundle's graph on the same texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from semserve_export.bundle.layout import GRAPH, TOKENIZER
from semserve_export.bundle.tolerance import TOLERANCE, Rows, onnx_run, scaled_difference
from semserve_export.keras_models.head import apply_scores
from semserve_export.model_spec import ModelSpec, Scores
from semserve_export.report import Measure
from semserve_export.tokenizers.bert_wordpiece import Encoding, Text, encode, pad
from semserve_export.tokenizers.sample_texts import TEXTS

TOGETHER = 8  # texts in a batch
WORD_COUNTS = (1, 2, 3, 5, 8, 13, 21, 60)
SEED = 17


@dataclass(frozen=True, slots=True)
class Proof:
    """The outputs of the given model for texts, each alone, to compare with a bundle."""

    spec: ModelSpec
    texts: tuple[Text, ...]
    expected: Rows  # fp32 [texts, outputs]; scores if the model returns scores
    applied: Scores | None  # the function that the model applies to its logits

    def __call__(self, directory: Path) -> Measure:
        """Run the bundle's graph on the texts alone, in batches, and with more padding."""
        tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        encodings = self._encode(tokenizer)
        run = onnx_run(directory / GRAPH)
        longest = max(map(len, encodings))
        alone = np.concatenate([run(pad([one], max(1, len(one)))) for one in encodings])
        together, padded = (
            np.concatenate(
                [
                    run(pad(encodings[start : start + TOGETHER], length))
                    for start in range(0, len(encodings), TOGETHER)
                ]
            )
            for length in (max(1, longest), min(longest + 9, self.spec.max_sequence_length))
        )
        differences = [
            scaled_difference(apply_scores(rows, self.applied), self.expected)
            for rows in (alone, together, padded)
        ]
        difference = np.max(differences)  # which, unlike max, propagates NaN
        what = "pairs of texts" if self.spec.pair else "texts"
        return Measure(f"predict on {len(self.texts)} {what}", float(difference), TOLERANCE)

    def _encode(self, tokenizer: Tokenizer) -> list[Encoding]:
        """Encode the texts as the server does."""
        if self.spec.pair:
            return encode(
                tokenizer,
                self.texts,
                self.spec.max_sequence_length,
                hypothesis_first=self.spec.hypothesis_first,
                pair_truncation=self.spec.pair_truncation,
            )
        direction = "left" if self.spec.truncation == "start" else "right"
        tokenizer.enable_truncation(self.spec.max_sequence_length, direction=direction)
        encodings = tokenizer.encode_batch(list(self.texts))
        return [Encoding(one.ids, one.type_ids) for one in encodings]


def proof_texts(words: Sequence[str]) -> tuple[str, ...]:
    """Return texts of many lengths, with words of the vocabulary and unknown words.

    Args:
        words: words of the vocabulary; without them, the texts are sentences of several languages.
    """
    random = np.random.default_rng(SEED)
    made = []
    for count in WORD_COUNTS if words else ():
        for _ in range(2):
            drawn = random.integers(0, len(words), count)
            made.append(" ".join(words[place] for place in drawn))
    return (*made, *TEXTS, "")
