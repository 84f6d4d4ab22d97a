"""Pairs made of others: of every kind that is asked for, none twice, and none that is held out."""

import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from semserve_export.cli.app import run_command_line
from semserve_export.data.augmentation import Augmenter, ContextSubstitutions, nearest
from semserve_export.data.augmentation_plan import AugmentationPlan
from semserve_export.errors import ExportError
from semserve_export.failures import naming_a_full_disk

NOTHING = {"near": 0, "like": 0, "swapped": False, "replaced": 0, "shortened": 0}
PAIRS = [
    ("A man rides a horse .", "A man is outside ."),
    ("A man rides a bike .", "A man sits ."),
    ("Two dogs run on the wide green grass .", "Dogs sleep ."),
]
HELD_OUT = ("a man rides a bike!", "Nobody is there .")


def embed(texts):
    """Place texts on a circle, men on one side and dogs on the other."""
    angles = [np.pi * ("ogs" in text) + 0.01 * len(text) for text in texts]
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def mixed(**kinds):
    return Augmenter(PAIRS, AugmentationPlan(**{**NOTHING, **kinds})).make(embed)


def test_nothing_is_made_that_was_not_asked_for():
    assert [] == mixed()


def test_a_premise_gets_the_hypothesis_of_the_one_most_like_it():
    """The dogs are like nobody, so the nearest of the others it is."""
    assert [(PAIRS[0][0], PAIRS[1][1]), (PAIRS[1][0], PAIRS[0][1])] == mixed(like=1)[:2]


def test_a_premise_gets_hypotheses_near_it_and_the_old_pairs_are_not_among_them():
    new_pairs = mixed(near=3)
    assert {(left, right) for left, _ in PAIRS for _, right in PAIRS} - set(PAIRS) == set(new_pairs)
    assert len(new_pairs) == len(set(new_pairs))


def test_sides_are_swapped():
    assert [(right, left) for left, right in PAIRS] == mixed(swapped=True)


def test_one_word_is_replaced_by_one_that_stood_between_the_same_two():
    new_pairs = mixed(replaced=20)
    assert {
        ("A man rides a bike .", "A man is outside ."),
        ("A man rides a horse .", "A man sits ."),
    } >= {pair for pair in new_pairs if pair[0].startswith("A man")}
    assert new_pairs


def test_a_shortened_premise_lacks_one_run_of_words():
    for premise, short in mixed(shortened=5):
        words, left = premise.split(), short.split()
        assert 4 <= len(left) < len(words)
        assert any(
            words[:start] + words[start + len(words) - len(left) :] == left
            for start in range(len(left) + 1)
        )


def test_the_seed_tells_what_is_drawn():
    first, again, other = (mixed(shortened=3, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_the_nearest_come_best_first():
    rows = np.eye(2, dtype=np.float32)
    others = np.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]], np.float32)
    assert [[2, 1], [0, 1]] == [places.tolist() for places in nearest(rows, others, 2)]


def test_words_fit_as_often_as_they_stood_there():
    fitting = ContextSubstitutions(["a cat sat", "a cat sat", "a dog sat", "A Mouse sat", "alone"])
    around = ("a", "sat")
    assert 3 == fitting.others(around, "mouse")
    assert ["cat", "cat", "dog"] == [fitting.other(around, "mouse", place) for place in range(3)]
    assert 0 == fitting.others(("no", "where"), "word") == fitting.others(("", ""), "alone")


def test_the_command_leaves_out_what_is_held_out(tmp_path):
    old, held_out = tmp_path / "old.jsonl", tmp_path / "held.tsv"
    old.write_text("".join(json.dumps({"premise": p, "hypothesis": h}) + "\n" for p, h in PAIRS))
    held_out.write_text("premise\thypothesis\tlabel\n{}\t{}\tneutral\n".format(*HELD_OUT))
    outputs = [tmp_path / "new.jsonl", tmp_path / "new.jsonl.gz"]
    for output in outputs:
        arguments = ["mix-pairs", str(old), "--output", str(output), "--near", "0", "--like", "0"]
        assert 0 == run_command_line([*arguments, "--hold-out", str(held_out)])
    assert outputs[0].read_bytes() == gzip.decompress(outputs[1].read_bytes())
    new_pairs = [json.loads(line) for line in outputs[0].read_text().splitlines()]
    assert {"premise": PAIRS[0][1], "hypothesis": PAIRS[0][0]} in new_pairs
    assert not [pair for pair in new_pairs if PAIRS[1][0] in pair.values()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a file of pairs"),
        (["old.tsv", "--near", "0"], "--near and --like need an --embedder"),
        (["old.tsv", "--output", "new.csv"], "new.csv: ends in neither"),
        (["none.tsv", "--near", "0", "--like", "0"], "none.tsv: no such file"),
    ],
)
def test_the_command_tells_what_it_lacks(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    request = arguments if "--output" in arguments else [*arguments, "--output", "new.jsonl"]
    assert 2 == run_command_line(["mix-pairs", *request])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "old.tsv"], "old.tsv: ends in neither"),
        (["--output", "./old.jsonl"], "old.jsonl: is read, so it is not written"),
        (["--hold-out", "old.jsonl"], "--hold-out: every pair has one of its texts"),
        (["--replaced", "0", "--shortened", "0", "--no-swapped"], "no new pair can be made of"),
        (["--replaced", "-1"], "--replaced: -1 is not between 0 and 1,000"),
        (["texts.jsonl"], "texts.jsonl: holds single texts, and pairs are needed"),
    ],
)
def test_what_nothing_new_can_be_made_of_is_told_and_nothing_is_written(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    old, texts = tmp_path / "old.jsonl", tmp_path / "texts.jsonl"
    old.write_text(json.dumps(dict(zip(("premise", "hypothesis"), PAIRS[0], strict=True))))
    texts.write_text('{"text": "a"}')
    before = old.read_text()
    files = ["texts.jsonl"] if "texts.jsonl" in arguments else ["old.jsonl", *arguments]
    output = [] if "--output" in arguments else ["--output", "new.jsonl"]
    assert 2 == run_command_line(["mix-pairs", *files, *output, "--near", "0", "--like", "0"])
    assert message in capsys.readouterr().err
    assert ({old, texts}, before) == ({*tmp_path.iterdir()}, old.read_text())


def test_a_full_disk_is_named_and_the_older_file_stays(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    row = dict(zip(("premise", "hypothesis"), PAIRS[0], strict=True))
    old.write_text(json.dumps(row))
    new.write_text("older")
    arguments = ["mix-pairs", "old.jsonl", "--output", "new.jsonl", "--near", "0", "--like", "0"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        code = run_command_line(arguments)
        with (
            pytest.raises(ExportError, match="cannot write place: File too large"),
            naming_a_full_disk(Path("place")),
        ):
            save_file({"values": np.zeros(64, np.float32)}, "weights.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (2, "older") == (code, new.read_text())
    assert "semserve-export: cannot write new.jsonl: File too large\n" == capsys.readouterr().err
    assert {old, new} == {*tmp_path.iterdir()}


IMPORTING = """
import os, signal, sys
from semserve_export.__main__ import main

class Interrupting:
    def find_spec(self, name, *_):
        if name == "semserve_export.bundle.layout":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell's job runs it
sys.meta_path.insert(0, Interrupting())
sys.argv = ["semserve-export", "mix-pairs", "old.tsv", "--output", "new.jsonl"]
sys.exit(main())
"""


def test_ctrl_c_while_the_command_is_imported_leaves_no_traceback():
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, check=False)
    assert (130, b"", b"") == (done.returncode, done.stdout, done.stderr)


def test_pairs_without_labels_are_refused_where_nobody_answers_them(capsys, tmp_path):
    files = ["--train", "t.tsv", "--validation", "v.tsv", "--unlabelled", "u.tsv"]
    assert 2 == run_command_line(["train", "nli-bert-tiny", *files, "--output", str(tmp_path)])
    assert "--unlabelled needs --teachers" in capsys.readouterr().err
