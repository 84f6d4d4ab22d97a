"""The command `semserve`, against a real server over the tiny bundles."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from semserve import Client
from semserve.cli import main

COMMAND = Path(sys.executable).with_name("semserve")


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        (line,) = self.out.splitlines()
        return json.loads(line)


Run = Callable[..., Said]


@pytest.fixture
def run(
    server_address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run the command as a shell would, with nothing or something piped in."""
    monkeypatch.setenv("SEMSERVE_ADDRESS", server_address)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        printed = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Said(stopped.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def client(server_address: str) -> Iterator[Client]:
    with Client(server_address) as client:
        yield client


class TestTables:
    def test_embed_shows_the_first_numbers_and_the_length(self, run, client):
        said = run("embed", "the cat", "a dog")
        vectors = client.embed(["the cat", "a dog"]).vectors
        head, first, second = said.out.splitlines()
        assert ["text", "dimensions", "tokens", "first", "4"] == head.split()
        for line, vector in zip((first, second), vectors, strict=True):
            assert [f"{x:.6f}" for x in vector[:4]] == line.split()[-4:]
            assert str(len(vector)) in line.split()
        assert (0, "") == (said.code, said.err)

    def test_classify_shows_every_label(self, run):
        head, line = run("classify", "it rains", "it is wet").out.splitlines()
        labels = ["entailment", "neutral", "contradiction"]
        assert ["premise", "hypothesis", "label", *labels] == head.split()
        assert 1 == pytest.approx(sum(map(float, line.split()[-3:])), abs=2e-4)
        assert line.split()[-4] in labels

    def test_compare_shows_four_decimals(self, run, client):
        _, line = run("compare", "the cat", "a dog").out.splitlines()
        (score,) = client.compare([("the cat", "a dog")]).scores
        assert ["the", "cat", "a", "dog", f"{score:.4f}"] == line.split()

    def test_rank_shows_the_best_first(self, run):
        lines = run("rank", "the cat", "a dog", "the cat", "rain").out.splitlines()[1:]
        assert ["1.0000", "1", "the", "cat"] == lines[0].split()
        assert 3 == len(lines)

    def test_search_shows_the_line_of_the_corpus(self, run, tmp_path):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("a dog\n\nthe cat\nrain\n")
        said = run("search", "--corpus", str(corpus), "the cat", "rain", "--top-k", "1")
        cat, rain = [line.split() for line in said.out.splitlines()[1:]]
        assert ["the", "cat", "1.0000", "1", "the", "cat"] == cat
        assert ["rain", "1.0000", "2", "rain"] == rain

    def test_models_lists_and_describes(self, run):
        listed = run("models").out
        assert "tiny-embed" in listed
        assert "entailment, neutral, contradiction" in listed
        described = run("models", "tiny-nli").out
        assert "CPUExecutionProvider" in described
        assert "tiny-embed" not in described

    def test_health_says_serving(self, run):
        assert Said(0, "serving\n", "") == run("health")

    def test_brackets_and_colours_of_a_text_are_shown_as_they_are(self, run):
        assert "[bold]loud[/bold]" in run("compare", "[bold]loud[/bold]", "b").out


class TestJson:
    """JSON holds everything, under the names of the schema."""

    def test_embed(self, run, client):
        document = run("embed", "the cat", "--output", "json").document
        found = client.embed(["the cat"])
        (result,) = document["results"]
        assert "tiny-embed" == document["model"]
        assert ("the cat", found.token_counts[0]) == (result["text"], result["token_count"])
        np.testing.assert_array_equal(found.vectors[0], np.float32(result["vector"]))
        assert found.usage.token_count == document["usage"]["token_count"]

    def test_classify(self, run):
        document = run("classify", "it rains", "it is wet", "--output", "json").document
        (result,) = document["results"]
        assert ("it rains", "it is wet") == (result["premise"], result["hypothesis"])
        assert result["label"] == max(result["scores"], key=result["scores"].__getitem__)
        assert 3 == len(result["logits"])

    def test_compare(self, run):
        (result,) = run("compare", "a b", "a b", "--output", "json").document["results"]
        assert {"left": "a b", "right": "a b", "score": pytest.approx(1)} == result

    def test_rank(self, run):
        said = run("rank", "a", "b", "a", "--top-k", "1", "--output", "json")
        assert [{"index": 1, "score": pytest.approx(1), "text": "a"}] == said.document["hits"]

    def test_search(self, run, tmp_path):
        (tmp_path / "corpus").write_text("b\na\n")
        said = run("search", "a", "--corpus", str(tmp_path / "corpus"), "--output", "json")
        (result,) = said.document["results"]
        assert ("a", [1, 0]) == (result["query"], [hit["index"] for hit in result["hits"]])

    def test_models(self, run):
        names = [model["name"] for model in run("models", "--output", "json").document]
        assert ["tiny-embed", "tiny-nli"] == names

    def test_health(self, run):
        said = run("health", "tiny-nli", "--output", "json")
        assert {"service": "tiny-nli", "status": "serving"} == said.document


class TestReading:
    def texts(self, said: Said) -> list[str]:
        return [result["text"] for result in said.document["results"]]

    def test_takes_arguments_then_files(self, run, tmp_path):
        file = tmp_path / "texts"
        file.write_bytes("\ufeffone\r\n\n  \ntwö\n".encode())
        said = run("embed", "zero", "--file", str(file), "--file", str(file), "--output", "json")
        assert ["zero", "one", "twö", "one", "twö"] == self.texts(said)

    def test_takes_what_is_piped_in(self, run):
        assert ["a", "b"] == self.texts(run("embed", "--output", "json", stdin=b"a\nb\n"))

    def test_takes_it_where_a_dash_stands(self, run):
        said = run("embed", "x", "-", "y", "--output", "json", stdin=b"a\n")
        assert ["x", "a", "y"] == self.texts(said)

    def test_leaves_it_alone_where_texts_are_given(self, run):
        assert ["x"] == self.texts(run("embed", "x", "--output", "json", stdin=b"a\n"))

    def test_takes_a_file_of_that_name(self, run):
        said = run("embed", "--file", "-", "--output", "json", stdin=b"a\n")
        assert ["a"] == self.texts(said)

    def test_takes_a_text_that_looks_like_a_flag_after_two_dashes(self, run):
        assert ["--x"] == self.texts(run("embed", "--output", "json", "--", "--x"))

    def test_takes_pairs_with_a_tab_between(self, run):
        said = run("compare", "--output", "json", stdin=b"a\tb\nc\td\n")
        pairs = [(one["left"], one["right"]) for one in said.document["results"]]
        assert [("a", "b"), ("c", "d")] == pairs

    def test_takes_more_texts_than_one_request_may_carry(self, run):
        texts = "".join(f"text {place}\n" for place in range(2100))
        said = run("rank", "text 2099", "--top-k", "1", "--output", "json", stdin=texts.encode())
        assert 2099 == said.document["hits"][0]["index"]


class TestProblems:
    """One line on standard error that says what to do; 1 for failed calls, 2 for wrong usage."""

    @pytest.mark.parametrize(
        ("arguments", "code", "line"),
        [
            (["embed", "a", "--address", "127.0.0.1:1"], 1,
             "nothing answers at 127.0.0.1:1; start the server with make serve"),
            (["embed", "a", "--address", "nowhere.invalid:1"], 1,
             "nothing answers at nowhere.invalid:1; start the server with make serve"),
            (["embed", "a", "--model", "nobody"], 1, "`semserve models` lists what there is"),
            (["embed", "a", "--timeout", "0.00001"], 1, "give more seconds with --timeout"),
            (["embed", ""], 1, "texts[0]"),
            (["embed"], 2, "no text: give it as an argument, with --file, or on standard input"),
            (["embed", "--file", "absent"], 2, "absent: No such file or directory"),
            (["embed", "a", "--timeout", "0"], 2, "--timeout"),
            (["embed", "a", "--output", "xml"], 2, "xml"),
            (["compare", "a"], 2, "only one text to compare: a"),
            (["compare", "a", "b", "c"], 2, "3 texts where a pair has two: a | b | c"),
            (["classify"], 2, "no pair: give two texts"),
            (["rank"], 2, "QUERY"),
            (["search", "a"], 2, "--corpus"),
            (["search", "a", "--corpus", os.devnull], 2, "no text in it"),
            (["heatmap", "a", "b", "--to", "map.jpg"], 2, ".png, .svg, .pdf"),
            (["frobnicate"], 2, "frobnicate"),
            (["embed", "a", "--frobnicate"], 2, "--frobnicate"),
        ],
    )  # fmt: skip
    def test_each_is_one_line(self, run, arguments, code, line):
        said = run(*arguments)
        assert (code, "") == (said.code, said.out)
        (only,) = said.err.splitlines()
        assert only.startswith("semserve: ")
        assert line in only

    def test_a_server_that_is_not_ready_is_an_answer_and_a_failure(self, run):
        line = "semserve: nobody is not ready: service unknown\n"
        assert Said(1, "service unknown\n", line) == run("health", "nobody")

    def test_bytes_that_are_no_text_are_named_by_their_line(self, run):
        said = run("embed", stdin=b"fine\n\xff\n")
        assert Said(2, "", "semserve: standard input: line 2 is not UTF-8\n") == said


class TestTheHeatmap:
    SENTENCES = ("$5 or $6?", "A cat sat on the mat. " * 20, "短い文 🙂")

    def test_is_a_picture(self, run, tmp_path):
        picture = tmp_path / "map.png"
        said = run("heatmap", *self.SENTENCES, "--to", str(picture))
        assert Said(0, f"{picture}\n", "") == said
        assert picture.read_bytes().startswith(b"\x89PNG\r\n")

    def test_is_annotated_and_named(self, run, tmp_path):
        """As an SVG it says all its scores; text is drawn as shapes, so its ids tell."""
        picture = tmp_path / "map.svg"
        run("heatmap", *self.SENTENCES, "--to", str(picture))
        root = ET.parse(picture).getroot()  # noqa: S314 - we wrote it
        comments = picture.read_text()
        assert root.tag.endswith("svg")
        assert 3 == comments.count("<!-- 1.00 -->")
        assert "<!-- $5 or $6? -->" in comments
        assert "Oblique" not in comments  # as in a formula

    def test_prints_its_scores_as_json(self, run, tmp_path):
        picture = str(tmp_path / "map.pdf")
        said = run("heatmap", "a", "b", "--to", picture, "--output", "json")
        scores = np.array(said.document["scores"])
        assert (2, 2) == scores.shape
        np.testing.assert_allclose(np.ones(2), scores.diagonal(), atol=1e-5)

    def test_takes_many_sentences(self, run, tmp_path):
        sentences = [f"sentence {place}" for place in range(60)]
        said = run("heatmap", *sentences, "--to", str(tmp_path / "map.png"))
        assert (0, "") == (said.code, said.err)

    def test_into_a_folder_that_is_not_there_says_so(self, run, tmp_path):
        said = run("heatmap", "a", "b", "--to", str(tmp_path / "absent" / "map.png"))
        assert 2 == said.code
        assert said.err.endswith("No such file or directory\n")


class TestTheProcess:
    """What only a process of its own can show."""

    def environment(self, address: str) -> dict[str, str]:
        return {**os.environ, "SEMSERVE_ADDRESS": address}

    def test_help_imports_nothing_heavy(self):
        code = (
            "import sys, semserve.cli as cli; sys.argv[1:] = ['--help']\n"
            "try: cli.main()\n"
            "finally: print({'grpc', 'numpy', 'matplotlib', 'google.protobuf'} & {*sys.modules})"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "set()" == said.stdout.splitlines()[-1]
        groups = [line for line in said.stdout.splitlines() if line.startswith("╭─")]
        assert ["Commands", "Texts", "Similarity", "Server"] == [one.split()[1] for one in groups]

    def test_an_interrupt_leaves_no_trace(self, server_address):
        with subprocess.Popen(
            [COMMAND, "health", "--watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(server_address),
        ) as process:
            assert process.stdout is not None
            assert "serving\n" == process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert (130, "", "") == (process.returncode, out, err)

    def test_a_reader_that_has_seen_enough_gets_no_trace(self, server_address):
        reading, writing = os.pipe()
        os.close(reading)
        said = subprocess.run(
            [COMMAND, "embed", "a", "--output", "json"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=self.environment(server_address),
        )
        os.close(writing)
        assert (1, "") == (said.returncode, said.stderr)

    def test_tells_its_version(self):
        said = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
        assert ["0", "1", "0"] == said.stdout.strip().split(".")
