"""What 0 means for a flag is said in its help, and is never that something happens at once."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import cyclopts
import pytest
from conftest import SMALL_LIMITS
from semserve_server.__main__ import app
from semserve_server.config import Config
from semserve_server.frontend.channel_arguments import UNBOUNDED

MEANING = re.compile(r"(?:^|[ .])0: (?:auto|never|no limit)\b")
NUMBERS = {
    field.name: f"--{field.name.replace('_', '-')}"
    for field in dataclasses.fields(Config)
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
}
HELP = {
    flag: " ".join(text.split())
    for flag, text in re.findall(r"(?m)^\* `(--[a-z-]+) [A-Z]+`: ([^*]*)", app.generate_docs())
}


def accepted(flag: str, value: str) -> bool:
    """Tell whether the command takes a value; one that it refuses, it refuses by name."""
    reported = ""
    try:
        app.parse_args([flag, value], exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        reported = str(error)
    assert reported == "" or flag in reported
    return not reported


def test_there_are_numbers_among_the_flags() -> None:
    assert {"--batch-workers", "--run-timeout", "--drain-timeout", "--trace-sample-ratio"} < {
        *NUMBERS.values()
    }
    types: dict[str, Any] = get_type_hints(Config)
    assert {*NUMBERS} == {name for name, kind in types.items() if kind in {int, float}}


@pytest.mark.parametrize("flag", NUMBERS.values())
def test_zero_is_refused_or_its_help_says_that_it_means_never_no_limit_or_auto(flag: str) -> None:
    assert accepted(flag, "0") == bool(MEANING.search(HELP[flag])), HELP[flag]


@pytest.mark.parametrize("flag", NUMBERS.values())
@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_what_is_no_sensible_number_is_refused(flag: str, value: str) -> None:
    assert not accepted(flag, value)


@pytest.mark.parametrize(
    "arguments",
    [[flag, "1.5"] for name, flag in NUMBERS.items() if get_type_hints(Config)[name] is int]
    + [["key", "a", "--file", "keys", "--tokens-per-second", "1.5"]],
)
def test_a_fraction_is_refused_for_a_whole_number(arguments: list[str]) -> None:
    with pytest.raises(cyclopts.CoercionError, match=f'{arguments[-2]}: unable to convert "1.5"'):
        app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_a_variable_with_a_fraction_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMSERVE_MAX_CALLS", "1.5")
    with pytest.raises(cyclopts.CoercionError, match="SEMSERVE_MAX_CALLS"):
        app.parse_args([], exit_on_error=False, print_error=False)


def test_a_time_of_microseconds_is_a_millisecond_for_grpc_and_not_zero() -> None:
    limits = dataclasses.replace(SMALL_LIMITS, keepalive_time=0.0001, max_connection_age=0.0)
    options = dict(limits.options())
    assert 1 == options["grpc.keepalive_time_ms"]
    assert UNBOUNDED == options["grpc.max_connection_age_ms"]


def test_a_rate_of_zero_is_refused_for_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "semserve_server", "key", "a", "--file", tmp_path / "keys"]
    ended = subprocess.run(
        [*command, "--tokens-per-second", "0"], capture_output=True, text=True, check=False
    )
    assert (2, True) == (ended.returncode, "--tokens-per-second" in ended.stderr)
