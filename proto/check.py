"""Checks the schema: buf's lint, breaking changes since a git revision, and fresh stubs.

buf finds imports only inside its module, so each check works on a copy of the schema that has
google/rpc/status.proto beside it, taken from the locked googleapis package. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import filecmp
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import google.rpc
from build import SCHEMA, build
from transcoding import build_http

ROOT = SCHEMA.parent
STUBS = ROOT / "clients" / "python"
FACADES = ROOT / "server" / "semserve_server" / "facades" / "stubs"
HTTP = ROOT / "server" / "deploy" / "envoy" / "http.protoset"


def check(buf: str, against: str) -> list[str]:
    """Return what is wrong, one line a finding; buf's own words go to standard output."""
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        ours = module(SCHEMA, Path(scratch, "ours"))
        if subprocess.run([buf, "lint", str(ours)], check=False).returncode:
            problems.append("proto/ breaks the lint rules of proto/buf.yaml: see above")
        released = schema_at(against, Path(scratch, "archive"))
        if released is None:
            print(f"proto-check: {against} has no schema yet, nothing to break")
        else:
            base = module(released, Path(scratch, "base"))
            command = [buf, "breaking", str(ours), "--against", str(base)]
            if subprocess.run(command, check=False).returncode:
                problems.append(f"proto/ breaks callers built at {against}: see above")
        problems += stale_stubs(Path(scratch, "stubs"))
    return problems


def module(schema: Path, place: Path) -> Path:
    """Copy `schema` to `place` and put its imports beside it."""
    shutil.copytree(schema, place)
    shutil.copy(SCHEMA / "buf.yaml", place)
    status = Path(next(iter(google.rpc.__path__)), "status.proto")
    (place / "google" / "rpc").mkdir(parents=True)
    shutil.copy(status, place / "google" / "rpc")
    return place


def schema_at(revision: str, place: Path) -> Path | None:
    """Unpack proto/ of a git revision below `place`; None where it has none."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=zip", revision, "proto"],
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        return None
    with zipfile.ZipFile(io.BytesIO(archive.stdout)) as files:
        files.extractall(place)
    return place / "proto"


def stale_stubs(scratch: Path) -> list[str]:
    """Build the stubs again and name each committed file that differs."""
    scratch.mkdir()
    protoset = scratch / "semserve.protoset"
    ours, facades = scratch / "ours", scratch / "facades"
    ours.mkdir()
    facades.mkdir()
    build(ours, protoset, facades)
    pairs = {
        committed / path.relative_to(made): path
        for made, committed in ((ours, STUBS), (facades, FACADES))
        for path in made.rglob("*_pb2*")
    }
    pairs[SCHEMA / "semserve.protoset"] = protoset
    transcoded = scratch / "http.protoset"
    build_http(transcoded)
    pairs[HTTP] = transcoded
    stale = [
        path
        for path, made in pairs.items()
        if not path.exists() or not filecmp.cmp(path, made, shallow=False)
    ]
    stale += [
        path
        for place in (STUBS, FACADES)
        for path in place.rglob("*_pb2*.py*")
        if "__pycache__" not in path.parts and path not in pairs
    ]
    return [
        f"{path.relative_to(ROOT)} is not what proto/ builds: run `make proto`" for path in stale
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buf", default="buf", help="the buf to run")
    parser.add_argument("--against", default="HEAD", help="the git revision callers were built at")
    arguments = parser.parse_args()
    found = check(arguments.buf, arguments.against)
    for problem in found:
        print(f"proto-check: {problem}", file=sys.stderr)
    raise SystemExit(bool(found))
