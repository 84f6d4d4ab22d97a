"""Every client passes the same table of cases against the same real servers.

A client whose toolchain is missing is skipped by name. Each runner is built by the command that its
README gives; what it builds lies below `.cache/`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import Authority
from clients.case_runners import RUNNERS, Runner
from clients.shared_cases.table import CASES, table
from conftest import ServerProcess, running_server
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key

TOKENS_PER_SECOND = 50
"""What the key of `secured` may spend; the cases wait for one to three seconds for it."""
BENCH_TEXTS = 3_200
AT_ONCE = 3
"""Runners side by side; each has two servers of its own."""

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("kinds")]
languages = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.language)


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers that all clients share, and what `secured` wants of a client."""

    addresses: dict[str, str]
    authority: Path
    keys: Path


@pytest.fixture(scope="module")
def servers(
    tiny_models: Path, kinds_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    directory = tmp_path_factory.mktemp("cases")
    authority = Authority()
    chain, key = authority.sign("server").write(directory)
    ca, keys = directory / "ca.pem", directory / "keys"
    ca.write_bytes(authority.pem)
    for runner in RUNNERS:
        presented, made = new_key(
            runner.language.replace("+", "p"), tokens_per_second=TOKENS_PER_SECOND
        )
        add_key(keys, made)
        (directory / f"{runner.language}.key").write_text(presented, encoding="utf-8")
    with ExitStack() as stack:
        tiny = stack.enter_context(running_server("--models", str(tiny_models)))
        secured = stack.enter_context(
            running_server(
                *("--models", str(tiny_models), "--keys", str(keys)),
                *("--tls-certificate", str(chain), "--tls-key", str(key)),
            )
        )
        addresses = {
            "tiny": tiny.address,
            "secured": secured.address,
            "kinds": kinds_address,
            "silent": stack.enter_context(_port(listening=True)),
            "nobody": stack.enter_context(_port(listening=False)),
        }
        yield Servers(addresses, ca, keys)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, servers: Servers, tiny_models: Path
) -> Iterator[dict[str, Future[Told]]]:
    """What the runner of each language that is tested here printed; some run side by side.

    They mostly wait: for a server to die, for a deadline, for a key's tokens to come back.
    """
    chosen = {
        item.callspec.params["runner"].language: item.callspec.params["runner"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == "test_client_passes_every_case"
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            language: pool.submit(_run_cases, runner, servers, tiny_models)
            for language, runner in chosen.items()
        }


@languages
def test_client_passes_every_case(runner: Runner, outcomes: dict[str, Future[Told]]) -> None:
    reported = outcomes[runner.language].result()
    wrong = [line for line in reported.lines if not line.startswith("ok ")]
    assert ([], 0) == (wrong, reported.code), reported.errors
    names = [case["name"] for case in json.loads(CASES.read_text(encoding="utf-8"))["cases"]]
    assert names == [line.removeprefix("ok ") for line in reported.lines]


@languages
def test_client_streams_many_texts(runner: Runner, servers: Servers) -> None:
    command = [*runner.ready(), "bench", servers.addresses["tiny"], str(BENCH_TEXTS)]
    reported = _run(command, {})
    assert 0 == reported.code, reported.errors
    (line,) = reported.lines
    language, count, _, rate, unit, _peak, _megabytes = line.split()
    assert [runner.language, str(BENCH_TEXTS), "texts/s"] == [language, count, unit]
    assert float(rate) > 0


def assert_alike(expected: object, made: object) -> None:
    """Compare two parts of the table; numbers may differ by 1e-6, as numpy's sums of float32 do."""
    if isinstance(expected, dict) and isinstance(made, dict):
        assert [*expected] == [*made], "run `make cases`"
        for name in expected:
            assert_alike(expected[name], made[name])
    elif isinstance(expected, list) and isinstance(made, list):
        assert len(expected) == len(made), "run `make cases`"
        for one, other in zip(expected, made, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert pytest.approx(made, abs=1e-6) == expected, "run `make cases`"
    else:
        assert expected == made, "run `make cases`"


def test_the_table_is_what_the_golden_answers_make() -> None:
    kept = json.loads(CASES.read_text(encoding="utf-8"))
    made = json.loads(json.dumps(table()))
    assert len(kept["cases"]) == len(made["cases"]), "run `make cases`"
    for expected, case in zip(kept["cases"], made["cases"], strict=True):
        assert_alike(expected, case)
    assert {**kept, "cases": []} == {**made, "cases": []}, "run `make cases`"
    names = [case["name"] for case in kept["cases"]]
    assert len(set(names)) == len(names)


@dataclass(frozen=True, slots=True)
class Told:
    """What a runner printed."""

    lines: list[str]
    errors: str
    code: int


def _run_cases(runner: Runner, servers: Servers, tiny_models: Path) -> Told:
    """Run the table with one client, whose two servers nobody else uses."""
    command = runner.ready()
    key = servers.keys.with_name(f"{runner.language}.key").read_text(encoding="utf-8")
    with (
        running_server("--models", str(tiny_models)) as first,
        running_server("--models", str(tiny_models)) as second,
    ):
        doomed = {"first": first, "second": second}
        addresses = servers.addresses | {name: one.address for name, one in doomed.items()}
        return _run(
            [*command, str(CASES), *(f"{name}={address}" for name, address in addresses.items())],
            doomed,
            SEMSERVE_KEY=key,
            SEMSERVE_TLS_CA=str(servers.authority),
        )


def _run(command: list[str], doomed: dict[str, ServerProcess], **environment: str) -> Told:
    """Run a runner, and kill each server that it asks for."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMSERVE_")}
    errors: list[str] = []
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", env={**clean, **environment},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        draining = threading.Thread(target=lambda: errors.extend(process.stderr or ()))
        draining.start()
        for line in process.stdout:
            name = line.rstrip("\n").removeprefix("stop ")
            if line.startswith("stop "):
                doomed[name].process.kill()
                doomed[name].process.wait()
                process.stdin.write(f"stopped {name}\n")
                process.stdin.flush()
            else:
                lines.append(line.rstrip("\n"))
        draining.join()
    return Told(lines, "".join(errors), process.returncode)


@contextmanager
def _port(*, listening: bool) -> Iterator[str]:
    """A port that nobody answers at: connections are accepted, or refused."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        if listening:
            taken.listen(64)
        yield f"127.0.0.1:{taken.getsockname()[1]}"
