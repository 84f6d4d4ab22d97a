"""The runners of the table of cases, one a language: what each needs, and how it is built."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
CACHE = ROOT / ".cache" / "clients"
# rustup's words where it has no toolchain, though its `cargo` is on the path.
NO_TOOLCHAIN = "could not choose a version of"
BUILD_LOCK = ROOT / ".build" / "clients.lock"
# How npm, Maven, Go and Cargo say that no registry answers; any other failure is a fault of ours.
UNREACHABLE = (
    "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "Unknown host", "Connection refused",
    "dial tcp", "no such host", "i/o timeout", "lookup disabled by GOPROXY=off",
    "Could not resolve host", "failed to download",
)  # fmt: skip


@contextmanager
def _building() -> Iterator[None]:
    """Let one thread of one test process build: two installations at once break each other."""
    BUILD_LOCK.parent.mkdir(exist_ok=True)
    with BUILD_LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class Runner:
    """How one language runs the cases.

    Attributes:
        language: its name, as its sample prints it.
        command: runs the cases.
        folder: of the client, where the build runs.
        tools: programs that have to be on the PATH.
        builds: commands that build the runner; a second run of them is quick.
        slow: whether a build or a run takes a minute of processor time, so that only
            `make test-clients` builds and runs it.
        sample: runs the sample in `folder`, with the address as a further argument.
        tests: runs the client's own tests in `folder`; empty where another test runs them.
        program: the fence of README's programs, the suffix of such a file, the folder in which it
            is run, and the command that runs it; empty where another test runs them.
    """

    language: str
    command: tuple[str, ...]
    folder: Path = CLIENTS
    tools: tuple[str, ...] = ()
    builds: tuple[tuple[str, ...], ...] = ()
    slow: bool = False
    sample: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    program: tuple[str, str, Path, tuple[str, ...]] | None = None

    def ready(self) -> list[str]:
        """Build the runner and return its command; skip where a tool or a registry is missing."""
        for tool in self.tools:
            if shutil.which(tool) is None:
                pytest.skip(f"{self.language}: {tool} is not installed")
        if self.slow and not os.environ.get("SEMSERVE_ALL_CLIENTS"):
            pytest.skip(f"{self.language}: it takes a minute or more: run `make test-clients`")
        for build in self.builds:
            with _building():
                built = subprocess.run(
                    build, cwd=self.folder, capture_output=True, text=True, check=False
                )
            if built.returncode:
                output = built.stdout + built.stderr
                if NO_TOOLCHAIN in output:
                    pytest.skip(
                        f"{self.language}: no toolchain is chosen: run `rustup default stable`"
                    )
                if any(sign in output for sign in UNREACHABLE):
                    pytest.skip(f"{self.language}: its packages cannot be downloaded")
                pytest.fail(f"{' '.join(build)}:\n{output}")
        return list(self.command)


NODE, JAVA, GO, RUST, CPP = (CLIENTS / name for name in ("node", "java", "go", "rust", "cpp"))
MAKE = ("make", "--no-print-directory", "--silent", "--directory", str(ROOT))
# A virtual machine of a few seconds does not need the second compiler.
QUICK_START = "-XX:TieredStopAtLevel=1"

RUNNERS = (
    Runner(
        "Python",
        ("env", f"PYTHONPATH={ROOT / 'tests'}", sys.executable, "-m", "clients.python_cases"),
        folder=CLIENTS / "python",
        sample=(sys.executable, "sample/first.py"),
    ),
    Runner(
        "Go",
        (str(CACHE / "go" / "cases"),),
        folder=GO,
        tools=("go",),
        builds=(("go", "build", "-o", f"{CACHE / 'go'}/", "./cases", "./sample"),),
        sample=(str(CACHE / "go" / "sample"), "-address"),
    ),
    Runner(
        "Node",
        ("node", str(NODE / "dist" / "cases" / "cases.js")),
        folder=NODE,
        tools=("node", "npm"),
        builds=((*MAKE, "clients/node/dist/.ready"),),
        slow=True,
        sample=("node", "dist/sample/sample.js"),
        tests=("npm", "test"),
        program=("js", ".mjs", NODE / "dist", ("node",)),
    ),
    Runner(
        "Java",
        ("env", f"JAVA_OPTS={QUICK_START}", str(JAVA / "run"), "Cases"),
        folder=JAVA,
        tools=("java", "mvn"),
        builds=((*MAKE, "clients/java/target/.ready"),),
        slow=True,
        sample=("env", f"JAVA_OPTS={QUICK_START}", "./run", "Sample"),
        tests=("mvn", "--quiet", "--batch-mode", "surefire:test"),
        program=("java", ".java", JAVA / "target", ("env", f"JAVA_OPTS={QUICK_START}", "../run")),
    ),
    Runner(
        "Rust",
        (str(CACHE / "rust" / "release" / "examples" / "cases"),),
        folder=RUST,
        tools=("cargo",),
        builds=(("cargo", "build", "--quiet", "--release", "--locked", "--example", "cases"),),
        slow=True,
        sample=("cargo", "run", "--quiet", "--locked", "--example", "sample"),
        tests=("cargo", "test", "--quiet", "--locked", "--workspace"),
        program=("rust", ".rs", CACHE / "rust", (str(RUST / "program.sh"),)),
    ),
    Runner(
        "C++",
        (str(CACHE / "cpp" / "cases"),),
        folder=CPP,
        tools=("cmake", "ninja", "c++", "pkg-config", "grpc_cpp_plugin"),
        builds=(("cmake", "--preset", "default"), ("cmake", "--build", "--preset", "default")),
        slow=True,
        sample=(str(CACHE / "cpp" / "sample"),),
        tests=("ctest", "--preset", "default"),
        program=("cpp", ".cpp", CACHE / "cpp", (str(CPP / "program.sh"),)),
    ),
)
