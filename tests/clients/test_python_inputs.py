"""What a caller passes is read as it is meant, or refused: never by its keys or column names."""

from __future__ import annotations

import collections
import sqlite3
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from semserve import Client

PAIR = ("it rains", "it is wet")


class Record(NamedTuple):
    hypothesis: str
    premise: str


class Plain(NamedTuple):
    first: str
    second: str


class Half(NamedTuple):
    premise: str
    label: str


@dataclass
class Row:
    hypothesis: str
    premise: str


class Frame:
    """What every library of data frames gives: iterating yields the names of the columns."""

    columns = ("premise", "hypothesis")

    def __iter__(self) -> Any:
        return iter(self.columns)


def sqlite_row(names: str) -> Any:
    with sqlite3.connect(":memory:") as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(f"select {names}").fetchone()


NAMED = {
    "dict": {"hypothesis": PAIR[1], "premise": PAIR[0]},
    "dict of text and text_pair": {"text_pair": PAIR[1], "text": PAIR[0]},
    "dict of sentence1 and sentence2": {"sentence2": PAIR[1], "sentence1": PAIR[0]},
    "read-only mapping": MappingProxyType({"hypothesis": PAIR[1], "premise": PAIR[0]}),
    "named tuple": Record(PAIR[1], PAIR[0]),
    "named tuple of other names": Plain(*PAIR),
    "dataclass": Row(PAIR[1], PAIR[0]),
    "row of sqlite3": sqlite_row("'it is wet' as hypothesis, 'it rains' as premise"),
    "record of numpy": np.array(
        [(PAIR[1], PAIR[0])], dtype=[("hypothesis", "U20"), ("premise", "U20")]
    )[0],
    "list": [*PAIR],
    "array": np.array(PAIR),
    "generator": (text for text in PAIR),
    "values of a dict": {"a": PAIR[0], "b": PAIR[1]}.values(),
}


@pytest.fixture(scope="module")
def expected(server_address: str) -> np.ndarray:
    with Client(server_address) as client:
        straight, turned = client.classify([PAIR, PAIR[::-1]]).logits
    assert not np.allclose(straight, turned, atol=1e-4)  # so that the order shows
    return straight


@pytest.mark.parametrize("name", [name for name in NAMED if name != "generator"])
def test_a_pair_with_names_is_read_by_them(ask, server_address, expected, name):
    found = ask(server_address, {}, "classify", [NAMED[name], PAIR])
    np.testing.assert_allclose(np.array([expected, expected]), found.logits, atol=1e-5)


def test_a_pair_may_be_a_generator(server_address, expected):
    with Client(server_address) as client:
        np.testing.assert_allclose(
            [expected], client.classify([NAMED["generator"]]).logits, atol=1e-5
        )


def test_a_stream_reads_pairs_by_their_names(ask, server_address, expected):
    (only,) = ask(server_address, {}, "stream_classify", [[NAMED["dict"], NAMED["dataclass"]]])
    np.testing.assert_allclose([expected, expected], only.result.logits, atol=1e-5)


def test_compare_reads_pairs_by_their_names(ask, server_address):
    texts = {"left": "the cat", "right": "a dog"}
    turned = {"right": "a dog", "left": "the cat"}
    other = {"sentence2": "a dog", "sentence1": "the cat"}
    found = ask(server_address, {}, "compare", [texts, turned, other, ("the cat", "a dog")])
    np.testing.assert_allclose(np.repeat(found.scores[3], 4), found.scores, atol=1e-6)


REFUSED_PAIRS = {
    "names nobody knows": ({"a": "x", "b": "y"}, "'premise' and 'hypothesis'"),
    "one name more": ({"premise": "x", "hypothesis": "y", "label": 1}, "'label'"),
    "names of two kinds": ({"premise": "x", "sentence2": "y"}, "'sentence2'"),
    "half of the names": (Half("x", "y"), "'label'"),
    "a second text alone": ({"hypothesis": "x"}, "alone"),
    "no name": ({}, "none"),
    "numbers as names": ({0: "x", 1: "y"}, "names 0, 1"),
    "a row of other names": (sqlite_row("'x' as a, 'y' as b"), "'a', 'b'"),
    "a set": ({"x", "y"}, "no order"),
    "a frozen set": (frozenset("xy"), "no order"),
    "keys of a dict": ({"premise": "x", "hypothesis": "y"}.keys(), "no order"),
    "a data frame": (Frame(), "not a Frame"),
    "bytes": (b"xy", "bytes"),
    "a list in a list": ([["x", "y"]], "premise must be a string, not list"),
    "bytes in a pair": (("x", b"y"), "hypothesis must be a string, not bytes"),
    "a number": (5, "not int"),
    "None": (None, "not NoneType"),
    "NaN": (("x", float("nan")), "hypothesis must be a string, not float"),
    "nothing": ((), "0 items"),
    "three": (("x", "y", "z"), "3 items"),
}


@pytest.mark.parametrize("name", REFUSED_PAIRS)
def test_what_is_no_pair_is_refused_with_its_place(ask, server_address, name):
    pair, output = REFUSED_PAIRS[name]
    with pytest.raises(TypeError, match=rf"pairs\[1\].*{output}"):
        ask(server_address, {}, "classify", [PAIR, pair])


@pytest.mark.parametrize(
    "pair",
    ["xy", b"xy", {"x", "y"}, {"left": "x"}, {"premise": "x", "hypothesis": "y"}, ("x",), None],
)
def test_compare_takes_two_texts_alone(ask, server_address, pair):
    with pytest.raises(TypeError, match=r"pairs\[0\]"):
        ask(server_address, {}, "compare", [pair])


LISTS = {
    "a dict": {"a": "x"},
    "a dict of columns": {"premise": ["x"], "hypothesis": ["y"]},
    "a counter": collections.Counter(["x"]),
    "a read-only mapping": MappingProxyType({"a": "x"}),
    "a data frame": Frame(),
    "a string": "xy",
    "bytes": b"xy",
    "a byte array": bytearray(b"xy"),
    "a number": 5,
    "None": None,
    "an array of no dimension": np.array("x"),
}
CALLS = {
    "texts": ("embed", lambda it: (it,)),
    "pairs": ("classify", lambda it: (it,)),
    "pairs ": ("compare", lambda it: (it,)),
    "texts ": ("tokenize", lambda it: (it,)),
    "documents": ("rank", lambda it: ("q", it)),
    "queries": ("search", lambda it: (it, ["x"])),
    "corpus": ("search", lambda it: (["x"], it)),
    "left": ("matrix", lambda it: (it,)),
    "right": ("matrix", lambda it: (["x"], it)),
    "batches": ("stream_embed", lambda it: (it,)),
    "batches ": ("stream_classify", lambda it: (it,)),
    "texts  ": ("stream_embed", lambda it: ([it],)),
    "pairs  ": ("stream_classify", lambda it: ([it],)),
}


@pytest.mark.parametrize("field", CALLS)
def test_what_is_no_list_is_refused_with_its_field(ask, server_address, field):
    method, arguments = CALLS[field]
    for kind, given in LISTS.items():
        if field == "right" and given is None:
            continue  # means the left ones
        with pytest.raises(TypeError, match=f"^{field.strip()} must be a list"):
            pytest.fail(f"{kind}: {ask(server_address, {}, method, *arguments(given))}")


@pytest.mark.parametrize(
    "texts",
    [
        ("x", "y"),
        {"x": 1, "y": 2}.keys(),
        {1: "x", 2: "y"}.values(),
        np.array(["x", "y"]),
        np.array(["x", "y"], object),
        collections.deque(["x", "y"]),
        collections.UserList(["x", "y"]),
    ],
)
def test_what_lists_texts_is_read_in_its_order(ask, server_address, texts):
    found = ask(server_address, {}, "tokenize", texts)
    assert [tokens.ids for tokens in ask(server_address, {}, "tokenize", ["x", "y"])] == [
        tokens.ids for tokens in found
    ]


@pytest.mark.parametrize("text", [["x"], ("x",), {"text": "x"}, b"x", 1.0, None, np.array(["x"])])
def test_what_is_no_text_is_refused_with_its_place(ask, server_address, text):
    with pytest.raises(TypeError, match=r"texts\[1\] must be a string"):
        ask(server_address, {}, "embed", ["x", text])
    with pytest.raises(TypeError, match="query must be a string"):
        ask(server_address, {}, "rank", text, ["x"])


@pytest.mark.parametrize("top_k", [1.5, True, "3"])
@pytest.mark.parametrize(("method", "given"), [("rank", "x"), ("search", ["x"])])
def test_a_top_k_that_is_no_whole_number_is_refused_by_name(
    ask, server_address, method, given, top_k
):
    with pytest.raises(TypeError, match="top_k must be a whole number"):
        ask(server_address, {}, method, given, ["x", "y"], top_k=top_k)


def test_a_top_k_past_the_wires_numbers_asks_for_all(ask, server_address):
    assert 2 == len(ask(server_address, {}, "rank", "x", ["x", "y"], top_k=10**12))


def test_a_timeout_past_grpcs_clock_is_none(ask, server_address):
    assert 1 == len(ask(server_address, {"timeout": 1e12}, "embed", ["x"]))
