"""What a text costs, and callers that obey: without a server."""

from __future__ import annotations

import grpc
import numpy as np
from conftest import TINY

from load.bundle import read_bundle
from load.flops import Shape, read_shape
from load.load import Load
from load.record import HELD_BACK, OK, SHED, Record
from load.restraint import PUSHBACK, Restraint

LAYERS, HIDDEN, INNER = 2, 16, 32
"""The sizes of the tests' tiny models."""


def test_the_sizes_of_a_transformer_are_read_from_its_graph() -> None:
    weights = LAYERS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER)
    assert Shape(weights, LAYERS, HIDDEN) == read_shape(read_bundle(TINY / "tiny-embed"))


def test_a_text_costs_two_operations_for_each_weight_and_each_product_of_its_attention() -> None:
    tokens, weights = 14, 6 * 12 * 384**2
    scores = 6 * 2 * (tokens * 384 * tokens)  # the queries with the keys, in all heads together
    mixes = 6 * 2 * (tokens * tokens * 384)  # these with the values
    assert tokens * 2 * weights + scores + mixes == Shape(weights, 6, 384).text(tokens)


def refusal(*trailers: tuple[str, str]) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*trailers)
    return grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), metadata)


def test_an_obedient_caller_sends_nothing_until_the_delay_is_over() -> None:
    now = 100.0
    caller = Restraint(lambda: now)
    caller.note(refusal())
    assert not caller.holds()
    caller.note(refusal((PUSHBACK, "250")))
    caller.note(refusal((PUSHBACK, "20")))
    now = 100.2
    assert caller.holds()
    now = 100.25
    assert not caller.holds()


def test_what_was_held_back_was_not_sent_and_is_no_goodput() -> None:
    load = Load(
        address="", group=0, method="", requests=(), answer_bytes=0, texts_per_request=1,
        rate=1.0, obedient_callers=2, seconds=2.0,
    )  # fmt: skip
    seen = Record(
        load=load, begun=np.array([0.0, 0.5, 1.0, 1.5]), ended=np.array([0.4, 0.5, 1.0, 1.9]),
        status=np.array([OK, SHED, HELD_BACK, OK], np.int16), timing=np.empty((0, 4)),
        client_cpu=0, server_cpu=0,
    )  # fmt: skip
    assert (1.5, 1.0) == (seen.sent_per_second, seen.goodput(0.5))
