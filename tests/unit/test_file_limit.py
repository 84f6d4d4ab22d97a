"""The limit of open files is raised for connections, or connections are bounded by it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
from semserve_server.system.file_limit import allow_connections
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(allow_connections(500), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    [(256, 1024, "500 628 1024"), (256, 256, "128 256 256"), (700, 1024, "500 700 1024")],
)
def test_connections_have_the_files_they_need_or_are_fewer(soft: int, hard: int, said: str) -> None:
    code = CODE.format(soft=soft, hard=hard)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said == ran.stdout.strip()
