"""Word vectors as text: the three formats, what is kept of a file, and errors by their line."""

import gzip

import numpy as np
import pytest
from semserve_export.errors import WeightsError
from semserve_export.word_vectors.vectors_file import MOST_BYTES, read_vectors

LINES = "the 1 2 -3.5\ncat 0.5 1e-3 2\n. . 7 8 9\n"
FORMATS = {
    "GloVe": LINES,
    "word2vec": f"3 3\n{LINES}",
    "fastText, with a blank at each end": f"3 3\n{LINES}".replace("\n", " \n"),
    "tabs and Windows": LINES.replace("cat 0.5 ", "cat\t0.5\t").replace("\n", "\r\n"),
    "a word twice": f"{LINES}the 9 9 9\n",
}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("compressed", [False, True])
def test_each_format_gives_the_same_vectors(tmp_path, format_, compressed):
    path = tmp_path / f"own.vec{'.gz' * compressed}"
    content = FORMATS[format_].encode()
    path.write_bytes(gzip.compress(content) if compressed else content)
    found = read_vectors(path, ())
    assert {"the", "cat", ". ."} == set(found)
    np.testing.assert_array_equal(np.float32([0.5, 1e-3, 2]), found["cat"])
    np.testing.assert_array_equal(np.float32([1, 2, -3.5]), found["the"])


def test_of_a_long_file_the_first_words_and_those_of_the_texts_are_kept(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("".join(f"word{place} {place} 1\n" for place in range(100)))
    assert ["word0", "word1", "word70"] == list(read_vectors(path, {"word70", "no"}, frequent=2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LINES + "dog 1 2\n", "line 4: has 2 numbers in place of 3"),
        (LINES + "dog 1 two 3\n", "line 4: 'two' is no number"),
        (LINES + "dog 1 nan 3\n", "line 4: holds NaN or infinity"),
        (LINES + "\ndog 1 2 3\n", "line 4: is empty"),
        ("2 5000\n", "line 1: 5000 numbers a word; there may be 1 to 4096"),
        ("the\n", "line 1: 0 numbers a word"),
        (LINES + "x" * MOST_BYTES, f"line 4: is longer than {MOST_BYTES} bytes"),
        (LINES.encode() + b"d\xffg 1 2 3\n", "line 4: is no text in UTF-8"),
        ("3 2\n", "holds no vector of a word that is wanted"),
        ("", "holds no vector of a word that is wanted"),
    ],
)
def test_a_damaged_file_is_refused_by_the_number_of_the_line(tmp_path, content, message):
    path = tmp_path / "own.vec"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WeightsError) as raised:
        read_vectors(path, ())
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "own.vec.gz").write_text(LINES)
    with pytest.raises(WeightsError, match=r"own\.vec\.gz: cannot be read"):
        read_vectors(tmp_path / "own.vec.gz", ())
