"""The scan of the locks, asked of a server that speaks as OSV does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import ROOT

KNOWN = {
    "id": "PYSEC-2026-1",
    "summary": "a hole",
    "published": "2026-01-01T00:00:00Z",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "holed", "ecosystem": "PyPI"},
            "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]},
            ],
            "versions": ["1.0"],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """Knows of one hole in one version of one package."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        holed = (request["package"]["name"], request["version"]) == ("holed", "1.0")
        body = json.dumps({"vulns": [KNOWN]} if holed else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def osv() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def audit(lock: Path, url: str, *pins: str) -> tuple[int, str]:
    """Run the scan over a file of such pins; its exit code, and what it says."""
    lock.write_text("".join(f"{pin} --hash=sha256:{'0' * 64}\n" for pin in pins))
    command = [sys.executable, ROOT / "requirements" / "audit.py", lock, "--osv-url", url]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    return ran.returncode, ran.stdout


def test_a_known_hole_fails_the_scan_and_is_named(tmp_path: Path, osv: str) -> None:
    code, output = audit(tmp_path / "lock.txt", osv, "holed==1.0", "whole==1.0")
    assert 1 == code
    assert "2 versions looked up, 1 vulnerabilities" in output
    assert "holed 1.0: PYSEC-2026-1, fixed in 1.1" in output


def test_versions_without_one_pass(tmp_path: Path, osv: str) -> None:
    code, output = audit(tmp_path / "lock.txt", osv, "holed==1.1", "whole==1.0")
    assert (0, "2 versions looked up, 0 vulnerabilities") == (code, output.strip().split(": ")[-1])


def test_where_nothing_answers_it_says_loudly_that_it_looked_up_nothing(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        code, output = audit(
            tmp_path / "lock.txt", f"http://127.0.0.1:{closed.getsockname()[1]}", "whole==1.0"
        )
    assert 0 == code
    assert "SKIPPED" in output


def test_make_check_scans_every_lock_but_that_of_ray() -> None:
    listed = subprocess.run(
        ["make", "--dry-run", "audit", "--directory", ROOT],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    locks = {lock.name for lock in (ROOT / "requirements").glob("*.txt")}
    assert "ray.txt" in locks
    for lock in locks:
        assert (lock != "ray.txt") == (f"requirements/{lock}" in listed), lock
