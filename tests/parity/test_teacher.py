"""Teachers: asked once, by the graph that was asked for, and alone where nobody else knows."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress
from semserve_export.data.batching import UNLABELLED
from semserve_export.data.pairs import Pair
from semserve_export.distillation.answer_cache import AnswerCache
from semserve_export.distillation.soft_targets import targets_of
from semserve_export.distillation.teacher import Teacher
from semserve_export.errors import ExportError

LABELS = ("entailment", "neutral", "contradiction")
PREMISES = ("the cat", "the mat sat", "hello world the cat sat", "a b c d e f")


def test_where_there_is_no_label_the_target_is_the_teachers():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32))
    targets = targets_of(np.array([2, UNLABELLED]), 3, 0.0, [logits], teacher_weight=0.5)
    np.testing.assert_allclose(targets, [[0.35, 0.1, 0.55], [0.1, 0.1, 0.8]], atol=1e-6)


@pytest.mark.parametrize("varied", ["classification"], indirect=True)
def test_teachers_are_asked_once(exported, tmp_path, monkeypatch):
    """Another training of the same pairs finds the answers; one that was damaged is asked anew."""
    monkeypatch.setattr("semserve_export.distillation.teacher.CHUNK", 3)
    pairs = [Pair(premise, "hello") for premise in PREMISES]
    teacher = Teacher.read(exported.directory, LABELS)
    request = []

    def ask(pairs):
        counted = replace(teacher, run=lambda inputs: request.append(1) or teacher.run(inputs))
        quiet = Progress(console=Console(quiet=True))
        return counted.answer(pairs, 16, AnswerCache(tmp_path), quiet)

    first, count = ask(pairs), len(request)
    np.testing.assert_array_equal(first, ask(pairs))
    assert 2 == count == len(request)
    next(tmp_path.glob("*.npy")).write_bytes(b"no array")
    np.testing.assert_array_equal(first, ask(pairs))
    assert 3 == len(request)
    np.testing.assert_array_equal(first[::-1], ask(pairs[::-1]))
    assert 5 == len(request)


@pytest.mark.parametrize("varied", ["classification"], indirect=True)
def test_a_teacher_answers_with_the_variant_that_is_asked_for(exported):
    with pytest.raises(ExportError, match="no variant 'fp64'; there are portable"):
        Teacher.read(exported.directory, LABELS, "fp64")
