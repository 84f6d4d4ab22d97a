"""Train a word model on scored pairs, on a teacher's scores, or both; keep what changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from rich.progress import Progress
from tokenizers import Tokenizer

from semserve_export.bundle.runner import METRICS, Embedder
from semserve_export.data.scored_pairs import ScoredPairs, WordTexts
from semserve_export.encoder_weights import Array
from semserve_export.model_spec import INPUTS_WITHOUT_SEGMENTS, ModelSpec
from semserve_export.tokenizers.bert_wordpiece import Encoding, encode, pad
from semserve_export.word_vectors.correlation import spearman
from semserve_export.word_vectors.siamese import Siamese, SiamesePairs, pair_loss
from semserve_export.word_vectors.word_adapter import apply_word_adapter, save_word_adapter
from semserve_export.word_vectors.word_model import WORDS
from semserve_export.word_vectors.word_plan import WordPlan
from semserve_export.word_vectors.words import WordBase, build_encoder

Ids = npt.NDArray[np.int64]
BATCH = 256


def train_encoder(
    base: WordBase,
    texts: WordTexts,
    teacher: Embedder | None,
    plan: WordPlan,
    output: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train the recipe's encoder, leave its adapter in `output`, and return the measured figures.

    Only the words of the training texts are in the model that learns: a step costs no more than
    they do. The figures are Spearman's correlations on the validation pairs; `spearman` is that of
    the whole model with the adapter as read back from disk.

    Args:
        base: what to train.
        texts: pairs to learn from, and to measure on.
        teacher: scores all texts of a batch against each other, where there is one.
        plan: epochs, rates and the seed.
        output: gets the adapter.
        progress: where tasks are added for the teacher and for the steps.
    """
    keras.utils.set_random_seed(plan.seed)
    recipe, table = base.recipe, base.table
    pairs = _siamese_pairs(texts, teacher, base.tokenizer, plan, progress)
    used = _used_words(pairs)
    small = build_encoder(recipe, table[used], dropout=plan.dropout)
    small.get_layer(WORDS).trainable = not plan.freeze_words
    whole = build_encoder(recipe, table)

    def measure() -> float:
        _copy_learnt(small, whole, table, used)
        return _correlation(whole, base, texts.validation)

    correlations = _fit(small, recipe.spec, _renumbered(pairs, used), plan, measure, progress)
    save_word_adapter(output, whole, table)
    shipped = build_encoder(recipe, table)
    apply_word_adapter(output, shipped)
    return {
        "spearman": _correlation(shipped, base, texts.validation),
        "spearman_by_epoch": correlations,  # the first is from before the training
        "pairs_trained_on": len(pairs),
        "words_trained": 0 if plan.freeze_words else len(used),
        "pairs_measured": len(texts.validation.pairs),
    }


def _fit(
    encoder: Any,
    spec: ModelSpec,
    pairs: SiamesePairs,
    plan: WordPlan,
    measure: Callable[[], float],
    progress: Progress,
) -> list[float]:
    """Train in place; return what `evaluate` gave before it and after each epoch."""
    steps = plan.epochs * -(-len(pairs) // plan.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(plan.learning_rate, steps)
    model = Siamese(encoder, spec.metric or "cosine")
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=1.0), loss=pair_loss, jit_compile=False
    )
    random = np.random.default_rng(plan.seed)
    figures = [measure()]
    task = progress.add_task(f"before: Spearman {figures[0]:.4f}", total=steps)
    for epoch in range(1, plan.epochs + 1):
        for rows in pairs.shuffled(plan.batch_size, random):
            model.train_on_batch(*pairs.batch(rows))
            progress.advance(task)
        figures.append(measure())
        progress.update(task, description=f"epoch {epoch}: Spearman {figures[-1]:.4f}")
    return figures


def _siamese_pairs(
    texts: WordTexts,
    teacher: Embedder | None,
    tokenizer: Tokenizer,
    plan: WordPlan,
    progress: Progress,
) -> SiamesePairs:
    """Encode all pairs, and ask the teacher about every text."""
    sides = texts.scored.texts() + (texts.unscored.texts() if texts.unscored else [])
    scores = np.full(len(sides) // 2, np.nan, np.float32)
    scores[: len(texts.scored.scores)] = np.array(texts.scored.scores) / plan.score_max
    vectors = np.zeros((len(sides), 1), np.float32)
    if teacher:
        task = progress.add_task(f"asking {teacher.name}", total=len(set(sides)))
        vectors = teacher.embed(sides, lambda count: progress.advance(task, count))
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    encodings = encode(tokenizer, sides, plan.max_tokens)
    return SiamesePairs(encodings[::2], encodings[1::2], scores, vectors[::2], vectors[1::2])


def _used_words(pairs: SiamesePairs) -> Ids:
    ids = [np.array(one.token_ids) for one in (*pairs.left, *pairs.right)]
    return np.unique(np.concatenate(ids))


def _renumbered(pairs: SiamesePairs, used: Ids) -> SiamesePairs:
    """Give the used words the numbers of their places among them."""
    left, right = (
        [
            Encoding(np.searchsorted(used, one.token_ids).tolist(), one.segment_ids)
            for one in encodings
        ]
        for encodings in (pairs.left, pairs.right)
    )
    return replace(pairs, left=left, right=right)


def _copy_learnt(small: Any, whole: Any, table: Array, used: Ids) -> None:
    learnt = table.copy()
    learnt[used] = small.get_layer(WORDS).get_weights()[0]
    whole.get_layer(WORDS).set_weights([learnt])
    for name in (layer.name for layer in whole.layers if layer.weights and layer.name != WORDS):
        for ours, theirs in zip(
            whole.get_layer(name).trainable_variables,
            small.get_layer(name).trainable_variables,
            strict=True,
        ):
            ours.assign(theirs)


def _correlation(encoder: Any, base: WordBase, pairs: ScoredPairs) -> float:
    """Return Spearman's correlation of the encoder's scores with people's."""
    spec = base.recipe.spec
    encodings = encode(base.tokenizer, pairs.texts(), spec.max_sequence_length)
    rows = []
    for start in range(0, len(encodings), BATCH):
        inputs = pad(encodings[start : start + BATCH])
        given = {name: inputs[name] for name in INPUTS_WITHOUT_SEGMENTS}
        rows.append(np.asarray(encoder(given, training=False)))
    vectors = np.concatenate(rows)
    scores = METRICS[spec.metric or "cosine"](vectors[::2], vectors[1::2])
    return spearman(scores, np.array(pairs.scores))
