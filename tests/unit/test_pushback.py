"""Refused callers get turns, without a clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from semserve_server.scheduling.admission import MAX_PUSHBACK_SECONDS, SPREAD, Pushback

REQUEST_SECONDS = 0.001


def busy() -> Pushback:
    pushback = Pushback()
    for _ in range(2000):
        pushback.admitted(REQUEST_SECONDS)
    return pushback


def test_those_that_are_refused_together_return_one_after_another() -> None:
    pushback = busy()
    delays = [pushback.refused(5.0, 0.0) for _ in range(20)]
    gaps = [later - earlier for earlier, later in pairwise([0.0, *delays])]
    assert [pytest.approx(SPREAD * REQUEST_SECONDS)] * 20 == gaps


def test_turns_pass_with_time() -> None:
    pushback = busy()
    first = pushback.refused(5.0, 0.0)
    assert pytest.approx(first) == pushback.refused(5.0 + first, 0.0)


def test_nobody_returns_before_the_queue_should_have_room() -> None:
    assert 0.3 == busy().refused(5.0, 0.3)


def test_callers_that_return_too_early_do_not_send_others_away_for_long() -> None:
    pushback = busy()
    delays = [pushback.refused(5.0, 0.0) for _ in range(10_000)]
    assert pytest.approx(MAX_PUSHBACK_SECONDS) == delays[-1] == max(delays)


def test_before_anything_was_admitted_the_room_of_the_queue_decides() -> None:
    assert 0.25 == Pushback().refused(5.0, 0.25)
