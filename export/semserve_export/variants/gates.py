"""The measurements of a variant against the portable graph, and their limits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from tokenizers import Tokenizer

from semserve_export.bundle.tolerance import TOLERANCE, Rows, Run, padded_batches, scaled_difference
from semserve_export.errors import FidelityError
from semserve_export.model_spec import OUTPUTS, Task, Variant
from semserve_export.tokenizers.bert_wordpiece import Inputs, Text, encode, pad
from semserve_export.tokenizers.sample_texts import PAIRS, TEXTS
from semserve_export.tokenizers.synthetic_texts import texts_like

HELD_OUT, HELD_OUT_SEED = (
    1000,
    2,
)  # one pair in thirty is a near tie, so fewer pairs would give random results
CALIBRATION, CALIBRATION_SEED = 512, 1
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The differences from the portable graph, on padded batches of held-out texts."""

    max_abs_difference: float  # of any value of any row
    difference: float  # of any row, by its scale: `scaled_difference`
    cosine_mean: float | None = None  # of an embedder's rows
    cosine_min: float | None = None
    label_agreement: float | None = (
        None  # for a classifier: fraction of texts with the same best label
    )
    max_probability_difference: float | None = None
    rank_correlation: float | None = (
        None  # rank correlation (Spearman) of the scores of a model with one output
    )

    def figures(self) -> dict[str, float]:
        """Return the measurements by their names in the manifest."""
        figures = {name: value for name, value in asdict(self).items() if value is not None}
        del figures["difference"]  # limited by `tolerance`
        return figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The limits of a variant; `Quality` documents the names."""

    difference: float
    cosine_mean: float
    cosine_min: float
    label_agreement: float
    rank_correlation: float

    def measures(self, quality: Quality) -> Iterator[tuple[str, float, float, bool]]:
        """Yield each measurement: its name, difference from perfect, limit, and whether it is met.

        NaN never meets a limit.
        """
        difference, most = quality.difference, self.difference
        yield "difference", difference, most, difference <= most
        for name in ("cosine_mean", "cosine_min", "label_agreement", "rank_correlation"):
            if (value := getattr(quality, name)) is not None:
                distance, bound = 1 - value, 1 - getattr(self, name)
                yield name, distance, bound, distance <= bound

    def require(self, quality: Quality, what: str) -> None:
        """Refuse a variant that does not meet its limits.

        Raises:
            FidelityError: the message names the first measurement that fails.
        """
        for name, measured, bound, holds in self.measures(quality):
            if not holds:
                raise FidelityError(
                    f"{what}: {name} is {measured:.2g} from the portable graph's, at most"
                    f" {bound:.2g} is allowed: this variant is left out"
                )


def gate_for(variant: Variant, task: Task) -> Gate:
    """Return the limits of a variant.

    A difference is relative to the scale of a row, as in `scaled_difference`. Half precision has a
    unit of 4.9e-4; with 12 layers, 768 wide, the measured difference was 2.1e-3 of a row's scale.
    """
    embeds = task in OUTPUTS
    gates: dict[Variant, Gate] = {
        "fused": Gate(
            difference=TOLERANCE,
            cosine_mean=0.9999,
            cosine_min=0.9999,
            label_agreement=0.999,
            rank_correlation=0.999,
        ),
        "int8": Gate(
            difference=0.05 if embeds else 0.2,
            cosine_mean=0.999,
            cosine_min=0.995,
            label_agreement=0.99,
            rank_correlation=0.99,
        ),
        "fp16": Gate(
            difference=5e-3 if embeds else 2e-2,
            cosine_mean=0.9999,
            cosine_min=0.9999,
            label_agreement=0.999,
            rank_correlation=0.999,
        ),
    }
    return gates[variant]


def measure(reference: Run, other: Run, task: Task, batches: Sequence[Inputs]) -> Quality:
    """Run both on every batch and compare them, row by row.

    Only the vectors of one batch are in memory: a sparse vector has the size of the vocabulary.
    """
    compare = _cosines if task in OUTPUTS else _side_by_side
    absolute, scaled, compared = [], [], []
    for batch in batches:
        expected, rows = reference(batch), other(batch)
        absolute.append(np.abs(rows - expected).max())
        scaled.append(scaled_difference(rows, expected))
        compared.append(compare(rows, expected))
    together = np.concatenate(compared)
    return Quality(
        # np.max, unlike Python's max, propagates NaN.
        max_abs_difference=float(np.max(absolute)),
        difference=float(np.max(scaled)),
        **FIGURES[task](together),
    )


def held_out_batches(
    variant: Variant,
    tokenizer: Tokenizer,
    max_length: int,
    *,
    pair: bool,
    hypothesis_first: bool = False,
) -> list[Inputs]:
    """Make padded batches of texts that were not used for calibration: random and golden texts.

    Floating point variants are also compared on random tokens in many shapes; int8 only on texts.
    """
    texts = PAIRS if pair else TEXTS
    golden = encode(tokenizer, texts, max_length, hypothesis_first=hypothesis_first)
    drawn = texts_like(HELD_OUT, HELD_OUT_SEED, pair=pair)
    batches = [
        pad(golden),
        *_batches(tokenizer, drawn, max_length, hypothesis_first=hypothesis_first),
    ]
    if variant == "int8":
        return batches
    return batches + padded_batches(golden, tokenizer.get_vocab_size(), max_length, pair=pair)


def calibration_batches(
    tokenizer: Tokenizer, max_length: int, *, pair: bool, hypothesis_first: bool = False
) -> list[Inputs]:
    """Make the batches for measuring the ranges of activations."""
    texts = texts_like(CALIBRATION, CALIBRATION_SEED, pair=pair)
    return _batches(tokenizer, texts, max_length, hypothesis_first=hypothesis_first)


def _batches(
    tokenizer: Tokenizer, texts: list[Text], max_length: int, *, hypothesis_first: bool
) -> list[Inputs]:
    encodings = encode(tokenizer, texts, max_length, hypothesis_first=hypothesis_first)
    encodings.sort(key=len)  # little padding, so fast
    return [pad(encodings[start : start + BATCH]) for start in range(0, len(encodings), BATCH)]


def _figures_of_vectors(cosines: Rows) -> dict[str, float]:
    return {"cosine_mean": float(cosines.mean()), "cosine_min": float(cosines.min())}


def _figures_of_labels(pairs: Rows) -> dict[str, float]:
    rows, expected = pairs[:, 0], pairs[:, 1]
    return {
        "label_agreement": float((rows.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        "max_probability_difference": float(np.abs(_softmax(rows) - _softmax(expected)).max()),
    }


def _figures_of_scores(pairs: Rows) -> dict[str, float]:
    ranks = pairs[:, :, 0].argsort(axis=0, kind="stable").argsort(axis=0)
    return {"rank_correlation": float(np.asarray(np.corrcoef(ranks, rowvar=False))[0, 1])}


FIGURES: Mapping[Task, Callable[[Rows], dict[str, float]]] = {
    "embedding": _figures_of_vectors,
    "sparse_embedding": _figures_of_vectors,
    "classification": _figures_of_labels,
    "score": _figures_of_scores,
}
"""Return the measurements of a task, from cosines of vectors or from pairs of logits."""


def _side_by_side(rows: Rows, others: Rows) -> Rows:
    """Return fp32 [rows, 2, outputs]."""
    return np.stack([rows, others], axis=1)


def _cosines(rows: Rows, others: Rows) -> Rows:
    """Return the cosine of each pair of rows; it is 1 if both have length 0."""
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    products = np.sum(rows * others, axis=1)
    return np.where(lengths == 0, np.float32(1), products / np.where(lengths == 0, 1, lengths))


def _softmax(logits: Rows) -> Rows:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
