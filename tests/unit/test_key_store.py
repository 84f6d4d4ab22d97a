"""Keys: the lines of the file, how a key is found, and how a file that changes is taken over."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.auth import api_key as keys
from semserve_server.auth.api_key import Key, find, new_key, parse
from semserve_server.auth.key_file import add_key, read_keys
from semserve_server.auth.key_store import KeyStore, Principal
from semserve_server.errors import (
    ConfigError,
    Draining,
    InferenceFailed,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
)

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
MODELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def free(name: str) -> tuple[str, Key]:
    """Make a key for everything."""
    return new_key(name)


@given(
    name=NAMES,
    models=st.none() | st.frozensets(MODELS, min_size=1),
    rate=st.none() | st.integers(1, 10**9),
    control=st.booleans(),
)
def test_a_key_reads_as_it_was_written_and_is_found_again(
    name: str, models: frozenset[str] | None, rate: int | None, *, control: bool
) -> None:
    presented, key = new_key(name, models=models, tokens_per_second=rate, control=control)
    read = parse(f"# a comment\n\n  {key}  \n")
    assert {name: key} == read
    assert key == find(read, presented)
    assert presented not in str(key)
    assert presented.partition(".")[2] not in repr(key)


@given(st.text(max_size=200))
def test_what_is_no_key_finds_none(presented: str) -> None:
    _, alice = free("alice")
    assert find({"alice": alice}, presented) is None
    assert find({"alice": alice}, f"alice.{presented}") is None


def test_every_key_is_compared_whole_and_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right, wrong, nearly right and of an unknown name: one comparison of two whole digests."""
    presented, alice = free("alice")
    compared = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return hmac_compare(left, right)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    for one in (presented, presented[:-1], "alice.", "nobody.x", ""):
        assert (one == presented) == (find({"alice": alice}, one) is not None)
    assert [(32, 32)] * 5 == compared


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("alice", "four columns"),
        ("al!ce {sha} * *", "the name"),
        ("alice {sha}0 * *", "the sha256"),
        ("alice ABC * *", "the sha256"),
        ("alice {sha} ../x *", "the models"),
        ("alice {sha} , *", "the models"),
        ("alice {sha} * 0", "the tokens per second"),
        ("alice {sha} * -1", "the tokens per second"),
        ("alice {sha} * 9999999999", "the tokens per second"),
        ("alice {sha} * ٣", "the tokens per second"),
        ("alice {sha} * * all", "the fifth column"),
        ("alice {sha} * * control x", "the fifth column"),
        ("bob {sha} * *", "an earlier line"),
    ],
)
def test_a_wrong_line_is_told_by_its_number_and_not_by_its_content(line: str, says: str) -> None:
    sha = "a" * 64
    with pytest.raises(ValueError, match=says) as caught:
        parse(f"bob {sha} * *\n{line.format(sha=sha)}\n")
    assert str(caught.value).startswith("line 2: ")
    assert sha not in str(caught.value)


def test_keys_are_added_to_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    _, alice = free("alice")
    _, bob = free("bob")
    add_key(path, alice)
    path.write_text(path.read_text().rstrip("\n"))  # as an editor may leave it
    add_key(path, bob)
    assert {"alice": alice, "bob": bob} == read_keys(path)
    assert 0o600 == path.stat().st_mode & 0o777
    with pytest.raises(ValueError, match="has a key 'bob'"):
        add_key(path, bob)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), (b"", "has no key"), (b"\xff", "not UTF-8"), (b"x\n", "line 1")],
)
def test_a_file_that_cannot_be_used_ends_the_start(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        KeyStore(path)


def test_a_file_that_changes_is_read_again_and_a_wrong_one_keeps_the_former_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path, clock = tmp_path / "keys", Clock()
    (first, alice), (second, bob) = free("alice"), free("bob")
    path.write_text(f"{alice}\n")
    key_store = KeyStore(path, clock=clock)
    principal = key_store.principal(first)
    assert alice == principal.present()

    path.write_text("not a line\n")
    clock.now += 2
    assert principal is key_store.principal(first)
    clock.now += 2
    assert principal is key_store.principal(first)
    assert 1 == sum("the present keys stay" in message for message in caplog.messages)

    (tmp_path / "new").write_text(f"{bob}\n")
    os.replace(tmp_path / "new", path)  # noqa: PTH105  (the system's own name for it)
    clock.now += 2
    assert bob == key_store.principal(second).present()
    with pytest.raises(Unauthenticated):
        key_store.principal(first)
    with pytest.raises(Unauthenticated):
        principal.present()
    assert "secret" not in caplog.text
    assert first not in caplog.text
    assert alice.sha256.hex() not in caplog.text


def test_a_key_that_is_given_other_rights_keeps_its_holder(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys", Clock()
    presented, alice = free("alice")
    path.write_text(f"{alice}\n")
    principal = KeyStore(path, clock=clock).principal(presented)
    principal.check_model("any")
    principal.reserve(1_000_000)
    principal.reserve(1)

    path.write_text(f"alice {alice.sha256.hex()} mine 100\n")
    clock.now += 2
    principal.check_model("mine")
    with pytest.raises(PermissionDenied, match="'alice'"):
        principal.check_model("any")
    with principal.reserve(250):
        pass
    with pytest.raises(Overloaded) as refusal:
        principal.reserve(1)
    assert (1.5, "rate") == (refusal.value.retry_after, refusal.value.cause)


def limited(tmp_path: Path, rate: int) -> tuple[Principal, Clock]:
    """Make a principal of a key of so many tokens a second, whose bucket is full."""
    path, clock = tmp_path / "keys", Clock()
    presented, alice = new_key("alice", tokens_per_second=rate)
    path.write_text(f"{alice}\n")
    return KeyStore(path, clock=clock).principal(presented), clock


FULL = Overloaded("the queue is full", retry_after=1.0, cause="queue_entries")


def spend(principal: Principal, estimate: int, cost: int | None, error: BaseException) -> None:
    """Reserve an estimate, settle it if a cost is given, and end with an error."""
    with principal.reserve(estimate) as charge:
        if cost is not None:
            charge.settle(cost)
        raise error


@pytest.mark.parametrize("error", [FULL, Draining("stopping"), InferenceFailed()])
@pytest.mark.parametrize("cost", [None, 2000])
def test_what_is_not_admitted_or_fails_here_is_not_paid_for(
    tmp_path: Path, error: Exception, cost: int | None
) -> None:
    principal, _ = limited(tmp_path, 10)
    with pytest.raises(type(error)):
        spend(principal, 1000, cost, error)
    principal.reserve(1)


def test_a_caller_that_leaves_pays_from_its_admission_on(tmp_path: Path) -> None:
    principal, _ = limited(tmp_path, 10)
    for cost in (None, 60):
        with pytest.raises(asyncio.CancelledError):
            spend(principal, 1000, cost, asyncio.CancelledError())
    with pytest.raises(Overloaded) as refusal:
        principal.reserve(1)
    assert pytest.approx((60 - 10) / 10) == refusal.value.retry_after


async def test_requests_that_arrive_together_see_what_each_other_costs(tmp_path: Path) -> None:
    """Fifty requests of 10,000 tokens on a key of 100 a second: one is ahead of the rate."""
    principal, _ = limited(tmp_path, 100)

    async def request() -> None:
        with principal.reserve(9000) as charge:
            await asyncio.to_thread(lambda: None)  # as tokenising on a thread
            charge.settle(10_000)

    done = await asyncio.gather(*(request() for _ in range(50)), return_exceptions=True)
    assert [None] == [one for one in done if not isinstance(one, Overloaded)]
    with pytest.raises(Overloaded) as refusal:
        principal.reserve(1)
    assert pytest.approx((10_000 - 100) / 100) == refusal.value.retry_after


@given(
    st.lists(
        st.tuples(
            st.integers(0, 500), st.integers(0, 500), st.sampled_from(["ends", "full", "leaves"])
        ),
        max_size=20,
    )
)
def test_after_any_requests_a_key_owes_what_was_admitted_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[int, int, str]]
) -> None:
    """A key of 10**6 tokens a second never owes here, so each request passes."""
    principal, clock = limited(tmp_path_factory.mktemp("keys"), 10**6)
    admitted = 0
    for estimate, cost, end in requests:
        with (
            contextlib.suppress(Overloaded, asyncio.CancelledError),
            principal.reserve(estimate) as one,
        ):
            if end == "leaves":
                raise asyncio.CancelledError
            one.settle(cost)
            if end == "full":
                raise FULL
            admitted += cost
    principal.reserve(2 * 10**6)
    with pytest.raises(Overloaded) as refusal:
        principal.reserve(1)
    assert pytest.approx((10**6 + admitted) / 10**6) == refusal.value.retry_after
    assert clock.now == clock()
