"""`semserve search` over a file: the vectors that it keeps, and its index of large files."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from semserve.bulk import corpus_index
from semserve.bulk.corpus_index import EXACT_ROWS, discard_oldest, nearest


@pytest.fixture
def cache(tmp_path):
    """The user's cache directory, which the command gets."""
    return tmp_path / "cache"


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text("a dog\n\nthe cat\nrain\n")
    return file


def best(said):
    return [(hit["index"], hit["text"]) for one in said.document["results"] for hit in one["hits"]]


class TestTheCache:
    FLAGS = ("--top-k", "1", "--output", "json")

    def test_the_vectors_of_an_unchanged_file_are_computed_once(self, run, corpus, cache):
        """Other vectors in the kept file change the hits, so the second search reads it."""
        first = run("search", "the cat", "--corpus", str(corpus), *self.FLAGS)
        (kept,) = cache.rglob("*.npy")
        vectors = np.load(kept)
        np.save(kept, vectors[::-1])
        second = run("search", "rain", "--corpus", str(corpus), *self.FLAGS)
        assert ([(1, "the cat")], [(0, "a dog")]) == (best(first), best(second))
        assert [kept] == [*cache.rglob("*.*")]

    def test_a_changed_file_has_new_vectors(self, run, corpus, cache):
        run("search", "the cat", "--corpus", str(corpus), *self.FLAGS)
        corpus.write_text("the cat\na dog\n")
        output = run("search", "the cat", "--corpus", str(corpus), *self.FLAGS)
        assert [(0, "the cat")] == best(output)
        assert 2 == len([*cache.rglob("*.npy")])

    def test_a_pipe_is_searched_and_its_vectors_are_not_kept(self, run, cache):
        read, write = os.pipe()
        os.write(write, b"rain\nthe cat\n")
        os.close(write)
        output = run("search", "the cat", "--corpus", f"/dev/fd/{read}", *self.FLAGS)
        os.close(read)
        assert [(1, "the cat")] == best(output)
        assert not cache.exists()

    @pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean", "manhattan"])
    def test_the_hits_are_those_of_the_server(self, run, corpus, metric):
        flags = ("--metric", metric, "--output", "json")
        kept = run("search", "the cat", "a", "--corpus", str(corpus), *flags).document["results"]
        piped = run(
            "search", "the cat", "a", "--corpus", "-", *flags, stdin=corpus.read_bytes()
        ).document["results"]
        for one, other in zip(kept, piped, strict=True):
            assert [hit["index"] for hit in one["hits"]] == [hit["index"] for hit in other["hits"]]
            np.testing.assert_allclose(
                [hit["score"] for hit in one["hits"]],
                [hit["score"] for hit in other["hits"]],
                rtol=1e-5, atol=1e-5,
            )  # fmt: skip

    def test_an_invalid_text_is_left_out_and_counted(self, run, tmp_path):
        file = tmp_path / "corpus.txt"
        file.write_bytes(b"bad \x00\nthe cat\n")
        output = run("search", "the cat", "--corpus", str(file), "--output", "json")
        assert [(1, "the cat")] == best(output)
        assert f"semserve: {file}: 1 invalid texts are left out\n" == output.err

    def test_columns_of_a_table_are_searched(self, run, tmp_path):
        file = tmp_path / "corpus.csv"
        file.write_text("id,text\n1,rain\n2,the cat\n")
        output = run("search", "the cat", "--corpus", str(file), *self.FLAGS)
        assert [(1, "the cat")] == best(output)

    def test_a_cache_that_cannot_be_written_is_one_line(self, run, corpus, cache):
        cache.write_text("a file")
        output = run("search", "the cat", "--corpus", str(corpus))
        assert (2, "") == (output.code, output.out)
        assert output.err.endswith("set XDG_CACHE_HOME to a directory that can be written\n")
        assert 1 == len(output.err.splitlines())

    def test_a_large_file_without_the_extra_names_it_before_anything_is_computed(
        self, run, tmp_path, cache, monkeypatch
    ):
        monkeypatch.setitem(sys.modules, "usearch.index", None)  # as if it were not installed
        file = tmp_path / "corpus.txt"
        file.write_text("rain\n" * (EXACT_ROWS + 1))
        line = "semserve: usearch is not installed: pip install 'semserve[search]' brings it\n"
        assert (1, "", line) == run("search", "rain", "--corpus", str(file))
        assert not cache.exists()


class TestTheIndex:
    def matrix(self, folder, rows):
        numbers = np.random.default_rng(7).standard_normal((rows, 8)).astype(np.float32)
        np.save(folder / "vectors.npy", numbers)
        return folder / "vectors.npy", numbers

    def test_a_large_matrix_is_indexed_and_finds_nearly_all_neighbours(self, tmp_path, monkeypatch):
        monkeypatch.setattr(corpus_index, "EXACT_ROWS", 2999)
        file, numbers = self.matrix(tmp_path, 3000)
        queries = numbers[:40] + 0.01
        found = nearest(file, queries, "cosine", 10)
        assert {file, tmp_path / "vectors.cosine.usearch"} == {*tmp_path.iterdir()}
        again = nearest(file, queries, "cosine", 10)
        monkeypatch.setattr(corpus_index, "EXACT_ROWS", len(numbers))
        exact = nearest(file, queries, "cosine", 10)
        same = [len({*one} & {*other}) for (one, _), (other, _) in zip(found, exact, strict=True)]
        assert 0.95 <= sum(same) / 400
        assert [*range(40)] == [int(rows[0]) for rows, _ in found]
        assert all((a == b).all() for (a, _), (b, _) in zip(found, again, strict=True))

    def test_equal_scores_have_the_order_of_the_rows_and_nan_is_left_out(self, tmp_path):
        numbers = np.array([[0, 1], [1, 0], [np.nan, np.nan], [1, 0]], np.float32)
        np.save(tmp_path / "vectors.npy", numbers)
        ((rows, scores),) = nearest(tmp_path / "vectors.npy", numbers[1:2], "cosine", 9)
        assert [1, 3, 0] == rows.tolist()
        assert [1, 1, 0] == scores.tolist()

    def test_the_files_that_were_used_longest_ago_are_deleted(self, tmp_path):
        for number in range(corpus_index.MAX_FILES + 2):
            (tmp_path / f"{number}").touch()
            os.utime(tmp_path / f"{number}", (number, number))
        discard_oldest(tmp_path)
        assert {str(number) for number in range(2, corpus_index.MAX_FILES + 2)} == {
            path.name for path in tmp_path.iterdir()
        }


@pytest.mark.xdist_group("kinds")
class TestPromptsAndSides:
    def hits(self, said):
        return [
            (hit["index"], round(hit["score"], 4)) for hit in said.document["results"][0]["hits"]
        ]

    @pytest.mark.parametrize(
        "flags",
        [
            ("--model", "tiny-sided"),
            ("--model", "e5-small-v2", "--prompt-name", "query"),
            ("--model", "e5-small-v2", "--prompt-name", "query", "--document-prompt-name", ""),
            ("--model", "e5-small-v2"),
        ],
    )
    def test_a_file_has_the_hits_of_the_server(
        self, command, kinds_address, corpus, monkeypatch, flags
    ):
        monkeypatch.setenv("SEMSERVE_ADDRESS", kinds_address)
        request = ("search", "the cat", "--output", "json", *flags, "--corpus")
        piped = command(*request, "-", stdin=corpus.read_bytes())
        assert self.hits(piped) == self.hits(command(*request, str(corpus)))
