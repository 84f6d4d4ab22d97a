"""Pairs come from the files that people have, and a file that cannot be used is named."""

import csv
import gzip
import hashlib
import json

import pyarrow as pa
import pytest
from pyarrow import parquet
from semserve_export.data.pairs import (
    LabelledPair,
    Pair,
    PairFiles,
    read_pairs,
    read_unlabelled,
    without_premises_of,
)
from semserve_export.distillation.soft_targets import with_swapped
from semserve_export.errors import ExportError

LABELS = ("entailment", "neutral", "contradiction")
PAIRS = [
    LabelledPair('"A cat', 'He said "no",\tor NA.', 1),
    LabelledPair("1984", "null", 0),
    LabelledPair("今日は", "🥐 naïve", 2),
]
ROWS = [
    {"label": LABELS[pair.label], "premise": pair.premise, "hypothesis": pair.hypothesis, "id": "7"}
    for pair in PAIRS
]


def write_tsv(path):
    lines = ["\t".join(ROWS[0]), *("\t".join(row.values()) for row in ROWS)]
    path.write_text("\n".join(lines).replace(",\tor", ", or"), encoding="utf-8")


def write_csv(path):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)


def write_json_lines(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")


def write_parquet(path):
    parquet.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("pairs.tsv", write_tsv),
        ("pairs.csv", write_csv),
        ("pairs.jsonl", write_json_lines),
        ("pairs.parquet", write_parquet),
    ],
)
def test_every_format_gives_the_same_pairs(tmp_path, name, write):
    path = tmp_path / name
    write(path)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    tabs = ", or" if name.endswith("tsv") else ",\tor"
    expected = [LabelledPair(PAIRS[0].premise, f'He said "no"{tabs} NA.', 1), *PAIRS[1:]]
    read = read_pairs([path, packed], LABELS)
    assert [*expected, *expected] == read.pairs
    assert [name, f"{name}.gz"] == list(read.sha256)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == read.sha256[name]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pairs.tsv", "premise\tlabel\n", "the header lacks hypothesis"),
        ("pairs.tsv", "premise\thypothesis\tlabel\na\tb\tmaybe\n", "pair 1: label 'maybe' is none"),
        ("pairs.tsv", "premise\thypothesis\tlabel\na\t\tneutral\n", "pair 1: the premise or"),
        ("pairs.tsv", "premise\thypothesis\tlabel\na\tb\n", "cannot be read"),
        ("pairs.tsv", "", "cannot be read"),
        ("pairs.jsonl", '{"premise": "a", "hypothesis": "b"}\n', "pair 1: label None is none"),
        ("pairs.jsonl", "premise\n", "cannot be read"),
        ("pairs.parquet", "premise\n", "cannot be read"),
        ("pairs.csv.gz", "premise\n", "cannot be read"),
        ("pairs.xlsx", "premise\n", "ends in none of .tsv, .csv, .jsonl, .parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ExportError, match=f"{name}.*{message}"):
        read_pairs([path], LABELS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"none.tsv: no such file"):
        read_pairs([tmp_path / "none.tsv"], LABELS)


@pytest.mark.parametrize("column", ["", "\tneutral", "\t"])
def test_pairs_for_teachers_need_no_label_and_lose_one_that_is_there(tmp_path, column):
    path = tmp_path / "pairs.tsv"
    header = "premise\thypothesis\tlabel" if column else "premise\thypothesis"
    path.write_text(f"{header}\na\tb{column}\n")
    assert [Pair("a", "b")] == read_unlabelled([path]).pairs
    path.write_text(f"{header}\n\tb{column}\n")
    with pytest.raises(ExportError, match=r"pairs.tsv, pair 1: the premise or"):
        read_unlabelled([path])


def test_a_premise_that_is_measured_on_can_be_left_out():
    """On whichever side it is, and however it is written; a held-out hypothesis is no matter."""
    kept = LabelledPair("rain", "another hypothesis", 1)
    same = [LabelledPair("a cat !", "b", 1), LabelledPair("b", "A  CAT", 1)]
    held_out = PairFiles([LabelledPair("A cat.", kept.hypothesis, 2)], {})
    found = without_premises_of(PairFiles([*same, kept], {"a": "1"}), held_out)
    assert PairFiles([kept], {"a": "1"}) == found


def test_only_pairs_of_a_symmetric_label_are_swapped():
    assert (*PAIRS, LabelledPair(PAIRS[2].hypothesis, PAIRS[2].premise, 2)) == with_swapped(
        PAIRS, [2]
    )
