"""The command `semserve`, against a real server over the tiny bundles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from semserve import Client


@pytest.fixture
def client(server_address: str) -> Iterator[Client]:
    with Client(server_address) as client:
        yield client


class TestTables:
    def test_embed_shows_the_first_numbers_and_the_length(self, run, client):
        output = run("embed", "the cat", "a dog")
        vectors = client.embed(["the cat", "a dog"]).vectors
        head, first, second = output.out.splitlines()
        assert ["text", "dimensions", "tokens", "first", "4"] == head.split()
        for line, vector in zip((first, second), vectors, strict=True):
            assert [f"{x:.6f}" for x in vector[:4]] == line.split()[-4:]
            assert str(len(vector)) in line.split()
        assert (0, "") == (output.code, output.err)

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
        output = run("search", "--corpus", str(corpus), "the cat", "rain", "--top-k", "1")
        cat, rain = [line.split() for line in output.out.splitlines()[1:]]
        assert ["the", "cat", "1.0000", "1", "the", "cat"] == cat
        assert ["rain", "1.0000", "2", "rain"] == rain

    def test_models_lists_and_describes(self, run):
        listed = run("models").out
        assert "tiny-embed" in listed
        assert "3 labels" in listed
        described = run("models", "tiny-nli").out
        assert "entailment, neutral, contradiction" in described
        assert "CPUExecutionProvider" in described
        assert "tiny-embed" not in described

    def test_health_says_serving(self, run):
        assert (0, "serving\n", "") == run("health")

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
        output = run("rank", "a", "b", "a", "--top-k", "1", "--output", "json")
        assert [{"index": 1, "score": pytest.approx(1), "text": "a"}] == output.document["hits"]

    def test_search(self, run, tmp_path):
        (tmp_path / "corpus").write_text("b\na\n")
        output = run("search", "a", "--corpus", str(tmp_path / "corpus"), "--output", "json")
        (result,) = output.document["results"]
        assert ("a", [1, 0]) == (result["query"], [hit["index"] for hit in result["hits"]])

    def test_models(self, run):
        names = [model["name"] for model in run("models", "--output", "json").document]
        assert ["tiny-embed", "tiny-nli"] == names

    def test_health(self, run):
        output = run("health", "tiny-nli", "--output", "json")
        assert {"service": "tiny-nli", "status": "serving"} == output.document


class TestReading:
    def texts(self, said: Any) -> list[str]:
        return [result["text"] for result in said.document["results"]]

    def test_takes_arguments_then_files(self, run, tmp_path):
        file = tmp_path / "texts"
        file.write_bytes("\ufeffone\r\n\n  \ntwö\n".encode())
        output = run("embed", "zero", "--file", str(file), "--file", str(file), "--output", "json")
        assert ["zero", "one", "twö", "one", "twö"] == self.texts(output)

    def test_takes_what_is_piped_in(self, run):
        assert ["a", "b"] == self.texts(run("embed", "--output", "json", stdin=b"a\nb\n"))

    def test_takes_it_where_a_dash_stands(self, run):
        output = run("embed", "x", "-", "y", "--output", "json", stdin=b"a\n")
        assert ["x", "a", "y"] == self.texts(output)

    def test_leaves_it_alone_where_texts_are_given(self, run):
        assert ["x"] == self.texts(run("embed", "x", "--output", "json", stdin=b"a\n"))

    def test_takes_a_file_of_that_name(self, run):
        output = run("embed", "--file", "-", "--output", "json", stdin=b"a\n")
        assert ["a"] == self.texts(output)

    def test_takes_a_text_that_looks_like_a_flag_after_two_dashes(self, run):
        assert ["--x"] == self.texts(run("embed", "--output", "json", "--", "--x"))

    def test_takes_pairs_with_a_tab_between(self, run):
        output = run("compare", "--output", "json", stdin=b"a\tb\nc\td\n")
        pairs = [(one["left"], one["right"]) for one in output.document["results"]]
        assert [("a", "b"), ("c", "d")] == pairs

    def test_takes_more_texts_than_one_request_may_carry(self, run):
        texts = "".join(f"text {place}\n" for place in range(2100))
        output = run("rank", "text 2099", "--top-k", "1", "--output", "json", stdin=texts.encode())
        assert 2099 == output.document["hits"][0]["index"]


@pytest.mark.parametrize("before", [["--output", "json"], ["--output=json"]])
def test_shared_flags_may_stand_before_the_command(run, before):
    after = run("compare", "the cat", "a dog", "--output", "json")
    assert (0, after.out) == (
        (output := run(*before, "compare", "the cat", "a dog")).code,
        output.out,
    )
