"""Looks up every locked version among the known vulnerabilities of OSV; needs the network."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path

OSV = "https://api.osv.dev"
PROBE_SECONDS = 10


def main() -> int:
    """Exit with 0 where nothing is known, or nothing can be looked up; with 1 otherwise."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("locks", nargs="+", type=Path, help="requirements files of pinned versions")
    parser.add_argument("--osv-url", default=OSV, help="where to look")
    arguments = parser.parse_args()
    if not reachable(arguments.osv_url):
        print(f"\n  SKIPPED: {arguments.osv_url} does not answer, so no dependency was looked up\n")
        return 0
    found = [audit(lock, arguments.osv_url) for lock in arguments.locks]
    return 1 if any(found) else 0


def reachable(url: str) -> bool:
    """Tell whether anything answers there, be it that there is no such page."""
    try:
        urllib.request.urlopen(url, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def audit(lock: Path, url: str) -> bool:
    """Look up one file's versions; tell of what is known, and whether anything is.

    pip-audit itself ends with 0 where it could look up nothing, so its report decides.
    """
    command = [
        Path(sys.executable).with_name("pip-audit"),
        *("--vulnerability-service", "osv", "--osv-url", f"{url}/v1/query"),
        *("--disable-pip", "--require-hashes", "--requirement", lock),
        *("--format", "json", "--progress-spinner", "off"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"{lock}: pip-audit failed:\n{ran.stderr}")
        return True
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in report if "skip_reason" in one]
    known = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, "
        f"fixed in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for one in report
        for vulnerability in one.get("vulns", ())
    ]
    print(f"{lock}: {len(report) - len(skipped)} versions looked up, {len(known)} vulnerabilities")
    for line in (*known, *skipped):
        print(f"  {line}")
    return bool(known or skipped)


if __name__ == "__main__":
    sys.exit(main())
