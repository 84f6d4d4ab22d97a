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
from semserve_export.data.scored_pairs import read_scored_pairs
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
        ("pairs.tsv", "premise\tlabel\n", "the header lacks hypothesis; it has premise, label"),
        ("pairs.tsv", "premise\thypothesis\tlabel\n", "there are no pairs"),
        ("pairs.tsv", "premise\thypothesis\tlabel\na\t \t0\n", "pair 1: hypothesis is empty"),
        ("pairs.tsv", "text\tlabel\na\t0\nb\n", "Row #3: Expected 2 columns, got 1"),
        ("pairs.csv", "text,label\na,0\n\udce9,0\n", "line 3 is not in UTF-8"),
        ("pairs.jsonl", '\n{"text": "a", "label": 0}\n{"text"\n', "line 3 is no JSON: "),
        ("pairs.jsonl", '{"text": "a", "label": 0}\n[0]\n', "line 2 is no JSON object"),
        ("pairs.jsonl", '{"text": "\\ud800", "label": 0}\n', "line 1: .*surrogates not allowed"),
        (
            "pairs.jsonl",
            '{"text": 5, "label": 0}',
            "pair 1: text 5 is not a text",
        ),
        ("pairs.tsv", "premise\thypothesis\tlabel\na\tb\tmaybe\n", "pair 1: label 'maybe' is none"),
        ("pairs.tsv", "premise\thypothesis\tlabel\na\t\tneutral\n", "pair 1: hypothesis is empty"),
        ("pairs.tsv", "premise\thypothesis\tlabel\na\tb\n", "cannot be read"),
        ("pairs.tsv", "", "cannot be read: it is empty"),
        ("pairs.jsonl", "", "cannot be read: it is empty"),
        ("pairs.jsonl", '{"premise": "a", "hypothesis": "b"}\n', "the header lacks label"),
        ("pairs.jsonl", '{"text": "a", "label": null}\n', "pair 1: label None is none"),
        ("pairs.tsv", "text\tlabel\na\t3\n", r"pair 1: label '3' is none .*\(0 to 2\)"),
        ("pairs.tsv", "text\tlabel\tgold_label\na\t0\t0\n", "has both label and gold_label"),
        ("pairs.tsv", "text\tlabel\n\t0\n", "pair 1: text is empty"),
        ("pairs.tsv", "text\tlabel\na\t-1\nb\t-\n", "there are no pairs"),
        ("pairs.jsonl", "premise\n", "cannot be read"),
        ("pairs.parquet", "premise\n", "cannot be read"),
        ("pairs.csv.gz", "premise\n", "cannot be read"),
        ("pairs.xlsx", "premise\n", "ends in none of .tsv, .csv, .jsonl, .parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ExportError, match=f"{name}.*{message}"):
        read_pairs([path], LABELS)


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.csv", "pairs.jsonl"])
def test_a_byte_order_mark_and_the_line_ends_of_windows_change_nothing(tmp_path, name):
    write = {"pairs.tsv": write_tsv, "pairs.csv": write_csv, "pairs.jsonl": write_json_lines}[name]
    write(tmp_path / name)
    expected = read_pairs([tmp_path / name], LABELS).pairs
    text = (tmp_path / name).read_bytes().decode().replace("\r\n", "\n")
    (tmp_path / name).write_text(text, encoding="utf-8-sig", newline="\r\n")
    assert expected == read_pairs([tmp_path / name], LABELS).pairs


def test_names_and_numbers_of_labels_may_stand_in_one_file_of_json_lines(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"text": "a", "label": "neutral"}\n{"text": "b", "label": 2}\n')
    assert [1, 2] == [pair.label for pair in read_pairs([path], LABELS).pairs]


def test_scores_that_are_all_the_same_are_refused(tmp_path):
    path = tmp_path / "scored.tsv"
    path.write_text("sentence1\tsentence2\tscore\na\tb\t3\nc\td\t3.0\n")
    with pytest.raises(ExportError, match=r"scored.tsv: every pair has the score 3; scores must"):
        read_scored_pairs([path])


@pytest.mark.parametrize("name", ["gold_label", "label"])
@pytest.mark.parametrize("sides", [("premise", "hypothesis"), ("sentence1", "sentence2")])
@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "parquet"])
def test_labels_are_names_or_numbers_and_rows_without_one_are_dropped_and_counted(
    tmp_path, kind, sides, name
):
    path = tmp_path / f"pairs.{kind}"
    values = ["2", "neutral", "-"] if kind in ("tsv", "csv") else [2, 1, -1]
    rows = [dict(zip(sides, "ab", strict=True)) | {name: value} for value in values]
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = {"tsv": "\t", "csv": ","}[kind]
        path.write_text("\n".join([mark.join(rows[0]), *(mark.join(r.values()) for r in rows)]))
    read = read_pairs([path], LABELS)
    assert [LabelledPair("a", "b", 2), LabelledPair("a", "b", 1)] == read.pairs
    assert {f"pairs.{kind}": 1} == read.undecided


def test_a_number_that_is_the_name_of_a_label_is_that_label(tmp_path):
    path = tmp_path / "stars.tsv"
    path.write_text("text\tlabel\ngood\t2\nbad\t1\n")
    assert [1, 0] == [pair.label for pair in read_pairs([path], ("1", "2")).pairs]


def test_numbers_with_a_point_and_a_gap_are_numbers_of_labels(tmp_path):
    path = tmp_path / "texts.parquet"
    parquet.write_table(pa.table({"text": ["a", "b"], "label": [1.0, -1.0]}), path)
    read = read_pairs([path], LABELS)
    assert [LabelledPair("a", "", 1)] == read.pairs
    assert {"texts.parquet": 1} == read.undecided


@pytest.mark.parametrize("column", ["text", "sentence"])
def test_a_file_of_single_texts_gives_texts_without_a_second_side(tmp_path, column):
    path = tmp_path / "texts.csv"
    path.write_text(f"{column},label\nA fine film.,entailment\n")
    read = read_pairs([path], LABELS)
    assert [LabelledPair("A fine film.", "", 0)] == read.pairs
    assert read.single


def test_single_texts_and_pairs_are_not_mixed(tmp_path):
    paths = [tmp_path / "texts.tsv", tmp_path / "pairs.tsv"]
    paths[0].write_text("text\tlabel\na\t0\n")
    paths[1].write_text("premise\thypothesis\tlabel\na\tb\t0\n")
    with pytest.raises(ExportError, match=r"pairs.tsv: holds pairs, and the files before it"):
        read_pairs(paths, LABELS)


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
    with pytest.raises(ExportError, match=r"pairs.tsv, pair 1: premise is empty"):
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
