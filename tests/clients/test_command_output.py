"""The formats of `semserve --output`, and the pictures of its tables in a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from semserve import Client

AWKWARD = ("plain", 'says "no", twice', "two\nlines", "a\ttab", "é 猫 🙂", "=1+1")
LABELS = ["entailment", "neutral", "contradiction"]
LISTS = {
    "compare": ("compare", "the cat", "a dog"),
    "rank": ("rank", "the cat", "a dog", "the cat", "rain"),
    "classify": ("classify", "it rains", "it is wet"),
    "embed": ("embed", "the cat", "a dog"),
    "heatmap": ("heatmap", "the cat", "a dog"),
    "models": ("models",),
    "search": ("search", "the cat", "rain", "--corpus", "-", "--top-k", "1"),
}
CORPUS = b"a dog\nthe cat\nrain\n"


def table(text: str, separator: str = ",") -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)]


class TestLists:
    @pytest.mark.parametrize("asked", LISTS)
    def test_every_list_of_results_has_the_same_fields_in_each_format(self, run, asked):
        said = {
            form: run(*LISTS[asked], "--output", form, stdin=CORPUS)
            for form in ("jsonl", "csv", "tsv", "text")
        }
        assert {(0, "")} == {(one.code, one.err) for one in said.values()}
        objects = [json.loads(line) for line in said["jsonl"].out.splitlines()]
        rows = table(said["csv"].out)
        assert rows == table(said["tsv"].out, "\t")
        assert len(objects) == len(rows) == len(said["text"].out.splitlines()) > 0
        for one, row in zip(objects, rows, strict=True):
            plain = {n: v for n, v in one.items() if isinstance(v, (str, int, float))}
            assert {*plain} <= {*row}
            for name, value in plain.items():
                assert row[name] == (value if isinstance(value, str) else json.dumps(value))

    @pytest.mark.parametrize("asked", ["compare", "classify", "embed"])
    def test_the_lines_of_jsonl_are_the_results_of_json(self, run, asked):
        document = run(*LISTS[asked], "--output", "json").document
        lines = run(*LISTS[asked], "--output", "jsonl").out.splitlines()
        assert document["results"] == [json.loads(line) for line in lines]

    def test_csv_has_a_column_for_each_number_of_a_vector(self, run, server_address):
        first, _ = table(run(*LISTS["embed"], "--output", "csv").out)
        with Client(server_address) as client:
            (vector,) = client.embed(["the cat"]).vectors
        columns = [f"vector_{place}" for place in range(len(vector))]
        assert ["text", *columns, "token_count", "truncated_tokens"] == [*first]
        np.testing.assert_array_equal(vector, np.float32([first[name] for name in columns]))

    def test_csv_has_a_column_for_the_score_of_each_label(self, run):
        (row,) = table(run(*LISTS["classify"], "--output", "csv").out)
        assert [f"scores_{label}" for label in LABELS] == [n for n in row if "scores" in n]
        assert row["label"] == max(LABELS, key=lambda label: float(row[f"scores_{label}"]))

    def test_csv_has_lists_of_words_as_json(self, run):
        rows = {row["name"]: row for row in table(run("models", "--output", "csv").out)}
        assert LABELS == json.loads(rows["tiny-nli"]["labels"])
        assert ("true", "") == (rows["tiny-nli"]["takes_pairs"], rows["tiny-nli"]["metric"])

    def test_search_has_a_line_for_each_hit(self, run):
        rows = table(run(*LISTS["search"], "--output", "csv", stdin=CORPUS).out)
        hits = [("the cat", "1", "the cat"), ("rain", "2", "rain")]
        assert hits == [(row["query"], row["index"], row["text"]) for row in rows]

    def test_text_is_the_result_alone(self, run):
        assert "the cat\na dog\n" == run("rank", "the cat", "a dog", "the cat", "--output",
                                         "text").out  # fmt: skip
        assert run("classify", "a", "b", "--output", "text").out.strip() in LABELS
        assert "tiny-embed\ntiny-nli\n" == run("models", "--output", "text").out

    def test_csv_keeps_every_character_and_ends_lines_as_rfc_4180_says(
        self, run, monkeypatch, tmp_path
    ):
        """Also where the encoding of the output lacks the characters."""
        file = tmp_path / "out.csv"
        with file.open("w", encoding="ascii") as out, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            assert 0 == run("embed", *AWKWARD, "--output", "csv").code
        written = file.read_bytes().decode("utf-8")
        assert [*AWKWARD] == [row["text"] for row in table(written)]
        assert len(AWKWARD) + 1 == written.count("\r\n")
        assert written.endswith("\r\n")


class TestRefusals:
    @pytest.mark.parametrize("form", ["csv", "tsv", "text"])
    @pytest.mark.parametrize(
        "asked",
        [("info",), ("health",), ("bench",), ("models", "load", "x"), ("models", "unload", "x")],
    )
    def test_a_format_of_lists_is_refused_where_there_is_no_list(self, run, asked, form):
        name = " ".join(asked[: 2 if asked[0] == "models" else 1])
        line = f"semserve: --output {form}: {name} prints no list of results; choose table or json"
        assert (2, "", f"{line}\n") == run(*asked, "--output", form)

    def test_the_summary_of_a_long_run_is_no_list(self, run, tmp_path):
        file, to = tmp_path / "in.txt", tmp_path / "out.npy"
        file.write_text("a\n")
        output = run("embed", str(file), "--to", str(to), "--output", "csv")
        assert (2, False) == (output.code, to.exists())
        assert "--output csv: embed --to prints no list" in output.err

    def test_a_text_of_two_lines_is_no_line(self, run):
        output = run("rank", "a", "two\nlines", "--output", "text")
        line = "semserve: --output text: a text has a line break; choose jsonl or csv\n"
        assert (1, "", line) == output

    def test_a_matrix_of_many_sentences_is_no_table(self, run):
        output = run("heatmap", *(f"text {n}" for n in range(41)))
        assert (2, "") == (output.code, output.out)
        assert "41 sentences, a table has 40: draw them with --to map.png" in output.err


@pytest.mark.parametrize("asked", ["compare", "rank", "search", "heatmap"])
def test_json_counts_the_tokens_that_truncation_dropped(run, asked):
    long = "cat " * 500
    arguments = {
        "compare": ("compare", long, "a"), "rank": ("rank", "a", long),
        "search": ("search", long, "--corpus", "-"), "heatmap": ("heatmap", long, "a"),
    }[asked]  # fmt: skip
    document = run(*arguments, "--output", "json", stdin=b"a\n").document
    embedded = run("embed", long, "--output", "json").document["results"][0]
    assert embedded["truncated_tokens"] == document["truncated_tokens"] > 0


class TestPictures:
    """In a terminal; the tests of tables show that a pipe gets the numbers alone."""

    RANK = ("rank", "the cat", "a dog", "the cat", "rain")
    BLOCKS = re.compile("[▏▎▍▌▋▊▉█▐▕]")

    @pytest.fixture(autouse=True)
    def terminal_of_colours(self, monkeypatch):
        monkeypatch.setenv("TERM", "xterm-256color")
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)

    @contextmanager
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        """Replace standard output with a terminal; at the end the list has what it shows."""
        shown: list[str] = []
        ours, theirs = os.openpty()
        with (
            open(ours, "rb", buffering=0) as screen,  # noqa: PTH123 - of a descriptor
            open(theirs, "w", encoding="utf-8") as out,  # noqa: PTH123 - likewise
        ):
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", out)
                yield shown
            out.flush()
            shown.append(screen.read(1 << 16).decode())

    def shown(self, run, monkeypatch, *arguments: str) -> str:
        with self.terminal(monkeypatch) as shown:
            assert (0, "") == (run(*arguments).code, "")
        return shown[0]

    def test_bars_stand_beside_the_scores(self, run, monkeypatch):
        _, best, *others = self.shown(run, monkeypatch, *self.RANK).splitlines()
        assert "█" * 20 in best
        lengths = [len(self.BLOCKS.findall(line)) for line in (best, *others)]
        assert sorted(lengths, reverse=True) == lengths
        assert lengths[-1] < 20

    @pytest.mark.parametrize(
        "setting", [{"COLUMNS": "60"}, {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}]
    )
    def test_numbers_alone_stand_where_pictures_do_not(self, run, monkeypatch, setting):
        """A pipe is no terminal, whatever FORCE_COLOR says."""
        for name, value in setting.items():
            monkeypatch.setenv(name, value)
        if "FORCE_COLOR" in setting:
            said = run(*self.RANK).out + run("heatmap", "a", "b").out
        else:
            said = self.shown(run, monkeypatch, *self.RANK)
            said += self.shown(run, monkeypatch, "heatmap", "a", "b")
        assert not self.BLOCKS.search(said)
        assert not re.search("\x1b\\[[0-9;]*48;", said)
        assert re.search(r"1\.0000 +1 +the cat", said)
        assert re.search(r"0 +a +1\.00", said)

    def test_a_matrix_has_colours_and_numbers(self, run, monkeypatch):
        said = self.shown(run, monkeypatch, "heatmap", "the cat", "a dog")
        assert 4 == len(re.findall("\x1b\\[[0-9;]*48;5;[0-9]+m *-?[01]\\.[0-9]{2}", said))
        assert 2 == len(re.findall("1\\.00", said))

    def test_a_matrix_in_a_pipe_is_numbers(self, run):
        head, first, _ = run("heatmap", "the cat", "a dog").out.splitlines()
        assert ["index", "text", "0", "1"] == head.split()
        assert ["0", "the", "cat", "1.00"] == first.split()[:4]
