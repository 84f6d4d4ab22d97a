"""The Go client is vetted, tested and run against a real server; its stubs are those of proto/.

Everything here is skipped, by name, where Go or the modules that go.sum pins cannot be had.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority
from conftest import ROOT, running_server
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key

CLIENT = Path(__file__).parents[2] / "clients" / "go"
OLDEST_GO = (1, 24)
# How Go says that it could not reach the module proxy; anything else is a fault of ours.
UNREACHABLE = (
    "dial tcp",
    "no such host",
    "i/o timeout",
    "TLS handshake timeout",
    "connection refused",
    "connection reset",
    "module lookup disabled by GOPROXY=off",
)

# A first build compiles gRPC, which takes minutes on a small machine.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("go")]


@pytest.fixture(scope="module")
def go() -> str:
    """Path of a Go that is new enough, with every module at hand."""
    path = shutil.which("go")
    if path is None:
        pytest.skip("go is not installed")
    version = run([path, "env", "GOVERSION"]).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found is None or tuple(map(int, found.groups())) < OLDEST_GO:
        pytest.skip(f"{version} is older than go{'.'.join(map(str, OLDEST_GO))}")
    download = run([path, "mod", "download"], check=False)
    if download.returncode:
        output = download.stderr.strip()
        if any(sign in output for sign in UNREACHABLE):
            pytest.skip(f"the Go module proxy cannot be reached: {output.splitlines()[-1]}")
        pytest.fail(f"go mod download: {output}")
    return path


def test_code_is_formatted_and_vetted(go: str) -> None:
    home = run([go, "env", "GOROOT"]).stdout.strip()
    assert run([f"{home}/bin/gofmt", "-l", "."]).stdout == ""
    run([go, "vet", "./..."])


def test_go_tests_pass_against_the_real_server(go: str, server_address: str) -> None:
    tested = run(
        [go, "test", "-count=1", "-json", "./..."],
        check=False,
        SEMSERVE_ADDRESS=server_address,
    )
    events = [json.loads(line) for line in tested.stdout.splitlines() if line.startswith("{")]
    output = "".join(event.get("Output", "") for event in events)
    assert tested.returncode == 0, output + tested.stderr
    actions = {event["Test"]: event["Action"] for event in events if "Test" in event}
    assert {name for name, action in actions.items() if action == "skip"} == set()
    assert actions["TestServerAnswersNinetyNineOfAHundred"] == "pass"


def test_go_gets_in_where_tls_and_a_key_are_wanted(
    go: str, tiny_models: Path, tmp_path: Path
) -> None:
    authority = Authority()
    chain, key = authority.sign("server").write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    presented, made = new_key("go")
    add_key(tmp_path / "keys", made)
    with running_server(
        *("--models", str(tiny_models), "--api-key-file", str(tmp_path / "keys")),
        *("--tls-certificate", str(chain), "--tls-key", str(key)),
    ) as server:
        run(
            [go, "test", "-count=1", "-run", "TestServerIsHealthy", "."],
            SEMSERVE_ADDRESS=server.address,
            SEMSERVE_KEY=presented,
            SEMSERVE_TLS_CA=str(tmp_path / "ca.pem"),
        )


def test_sample_prints_the_same_table_twice(go: str, server_address: str) -> None:
    first, second = (run([go, "run", "./sample", "-address", server_address]) for _ in range(2))
    assert first.stdout == second.stdout
    *table, summary = first.stdout.splitlines()
    assert summary.startswith("Go ok 16 ")
    rows = [re.split(r" {2,}", line) for line in table]
    streamed = {row[0]: row[1] for row in rows if row[0].startswith("stream ")}
    assert list(streamed) == [f"stream {place}" for place in range(10)]
    assert streamed.pop("stream 6") == "InvalidArgument texts[1]"
    cosine, *labels = (row for row in rows if not row[0].startswith("stream "))
    assert cosine[0] == "cosine"
    # The stream's first request holds the same two sentences.
    assert streamed["stream 0"] == cosine[1]
    assert all(-1 <= float(score) <= 1 for score in streamed.values())
    assert sum(float(row[1]) for row in labels) == pytest.approx(1, abs=0.002)
    assert len(first.stderr.splitlines()) == 10


def test_sample_fails_in_one_line_where_nobody_listens(go: str) -> None:
    # Port 9 of the loopback has nobody: the discard service is long gone.
    failed = run([go, "run", "./sample", "-address", "127.0.0.1:9"], check=False)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("semserve: Unavailable: ")


def test_committed_stubs_are_what_the_schema_builds(go: str, tmp_path: Path) -> None:
    del go  # generate.sh finds it on PATH, where the fixture found it
    if not (ROOT / ".tools" / "proto" / ".ready").is_file():
        pytest.skip("the compiler of the schema is not there, which needs Python 3.11 or 3.12")
    run([str(CLIENT / "generate.sh"), str(tmp_path)], PYTHON=sys.executable)
    fresh, committed = tmp_path / "semservev1", CLIENT / "semservev1"
    names = {path.name for path in fresh.iterdir()}
    assert names == {path.name for path in committed.iterdir()}
    _, stale, unread = filecmp.cmpfiles(fresh, committed, names, shallow=False)
    assert (stale, unread) == ([], []), "run clients/go/generate.sh"


def run(
    command: list[str], *, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in the Go module and give back what it printed."""
    done = subprocess.run(
        command,
        cwd=CLIENT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done
