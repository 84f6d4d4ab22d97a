"""Progress are counted in looks at what has not moved."""

from __future__ import annotations

from semserve_server.config import Config
from semserve_server.supervision.watchdog import CHECK_SECONDS, Progress


def test_only_what_is_seen_again_unmoved_is_counted() -> None:
    unchanged = Progress()
    assert {"hangs": 0, "moves": 0} == unchanged.check({"hangs": 1.5, "moves": 1})
    assert {"hangs": 1, "moves": 0} == unchanged.check({"hangs": 1.5, "moves": 2})
    assert {"hangs": 2, "comes": 0} == unchanged.check({"hangs": 1.5, "comes": 2})
    assert {"hangs": 0} == unchanged.check({"hangs": 9.5})
    assert {} == unchanged.check({})
    assert {"hangs": 0} == unchanged.check({"hangs": 9.5})


def test_none_is_a_value_like_others() -> None:
    unchanged = Progress()
    assert {"a": 0} == unchanged.check({"a": None})
    assert {"a": 1} == unchanged.check({"a": None})


def test_what_hangs_is_told_within_ten_seconds() -> None:
    """One look may have come just before it hung, and one finds that it is long enough."""
    assert Config().stall_timeout + 2 * CHECK_SECONDS < 10
