"""`evaluate` measures classifiers on labelled pairs, and tells how they do on each kind of pair."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from semserve_export.cli.evaluation_app import measure
from semserve_export.cli.evaluation_commands import measure_labels
from semserve_export.data.batching import EncodedPairs
from semserve_export.data.probes import OWN_PROBES, read_probes
from semserve_export.errors import ExportError
from semserve_export.training.trainer import logits_of

LABELS = ("entailment", "neutral", "contradiction")


@pytest.mark.parametrize("varied", ["classification"], indirect=True)
def test_the_accuracy_of_all_probes_and_of_each_kind_is_that_of_the_keras_model(exported):
    probes = read_probes([OWN_PROBES], LABELS)
    console = Console(file=io.StringIO(), record=True, width=300)
    measure_labels([exported.directory], probes, "portable", console)
    cells = [cell.strip() for cell in console.export_text().splitlines()[-2].split("│")[1:-1]]

    model, pairs = exported.model, probes.files.pairs
    encoded = EncodedPairs.of(model.tokenizer, pairs, model.spec.max_sequence_length)
    right = logits_of(model.keras_model, encoded).argmax(axis=1) == encoded.labels
    assert ["tiny-classification", f"{right.mean():.4f}"] == cells[:2]
    kinds = np.array(probes.kinds)
    assert cells[3:] == [
        f"{right[kinds == kind].sum()}/{(kinds == kind).sum()}" for kind in probes.every_kind
    ]


def test_our_probes_have_every_label_and_each_pair_once():
    probes = read_probes([OWN_PROBES], LABELS)
    pairs = [(pair.premise, pair.hypothesis) for pair in probes.files.pairs]
    assert len(set(pairs)) == len(pairs) == len(probes.kinds)
    assert {0, 1, 2} == {pair.label for pair in probes.files.pairs}
    assert {"synonym", "antonym", "hypernym", "number", "negation", "role"} < {*probes.every_kind}
    assert all(8 <= probes.kinds.count(kind) for kind in probes.every_kind)


@pytest.mark.parametrize("varied", ["embedding"], indirect=True)
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"probes": True}, "--probes: .* has no labels"),
        ({}, "pass either --pairs FILE or --probes"),
        ({"probes": True, "pairs": (Path("a"),)}, "pass either --pairs FILE or --probes"),
    ],
)
def test_what_cannot_be_measured_is_said(exported, flags, message):
    with pytest.raises(ExportError, match=message):
        measure(exported.directory, **flags)
