"""A process that reads a stranger's model can do little else, and its end is told in one line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from parity.families import make_classifier
from semserve_export.cli.confined_process import run_confined
from semserve_export.confinement.process_limits import Confinement

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces and Landlock are Linux's"),
]

CONFINED = """
import ctypes, json, os, pickle, resource, socket, subprocess, sys
from pathlib import Path
from semserve_export.confinement.process_limits import Confinement, confine
allowed, forbidden = map(Path, sys.argv[1:])
confine(Confinement((), (str(allowed),)), allowed)

def attempt(action):
    try:
        return repr(action())
    except Exception as error:
        return type(error).__name__

(allowed / "draft").mkdir()
(allowed / "draft" / "file").write_text("x")
(allowed / "draft").rename(allowed / "bundle")
print(json.dumps({
    "write": attempt(lambda: (forbidden / "file").write_text("x")),
    "remove": attempt(lambda: (forbidden / "there").unlink()),
    "start": attempt(lambda: subprocess.run(["true"])),
    "start in C": attempt(lambda: ctypes.CDLL(None).system(b"exit 0")),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", 9))),
    "look up": attempt(lambda: socket.getaddrinfo("example.invalid", 80)),
    "unpickle": attempt(lambda: pickle.loads(pickle.dumps(Path("x")))),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "privileges": [l for l in open("/proc/self/status") if l.startswith("NoNewPrivs")],
}))
"""
ENVIRONMENT = """
import json, os, sys
from semserve_export.cli import confined_process
from semserve_export.confinement.process_limits import Confinement
os.environ["SECRET_KEY"] = "secret"
os.environ["SEMSERVE_WEIGHTS"] = "kept"
sys.executable = sys.argv[1]
sys.exit(confined_process.run_confined(["--version"], Confinement(("x",), ())))
"""
STRUCK = """
import os, signal, sys
from pathlib import Path
from semserve_export.cli.app import run_command_line
number, at_child = signal.Signals[sys.argv[1]], sys.argv[2] == "child"

def strike(*_):
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    if not children:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
    else:
        os.kill(int(children[0]) if at_child else os.getpid(), number)

signal.signal(signal.SIGALRM, strike)
signal.setitimer(signal.ITIMER_REAL, 0.1)
sys.exit(run_command_line(sys.argv[3:]))
"""


def test_a_confined_process_writes_to_its_directories_alone_and_reaches_nobody(tmp_path):
    allowed, forbidden = tmp_path / "allowed", tmp_path / "forbidden"
    allowed.mkdir()
    forbidden.mkdir()
    (forbidden / "there").touch()
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, allowed, forbidden],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    for attempt in ("start", "connect", "look up", "unpickle"):
        assert "PermissionError" == found[attempt], attempt
    assert [0, 0] == found["core"]
    assert ["NoNewPrivs:\t1\n"] == found["privileges"]
    assert "x" == (allowed / "bundle" / "file").read_text()
    if found["write"] == "1":
        pytest.skip("this kernel has no Landlock")
    assert "PermissionError" == found["write"] == found["remove"]
    assert "0" != found["start in C"]
    assert ["there"] == [path.name for path in forbidden.iterdir()]


def test_a_confined_process_sees_no_secret_and_no_home(tmp_path):
    """An interpreter of our own writes down the environment that it is started in."""
    spy = tmp_path / "python"
    spy.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment\n")
    spy.chmod(0o755)
    subprocess.run([sys.executable, "-c", ENVIRONMENT, spy], check=True)
    seen = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    assert "SECRET_KEY" not in seen
    assert "kept" == seen["SEMSERVE_WEIGHTS"]
    assert seen["TMPDIR"] == seen["HOME"] != os.environ.get("HOME")
    assert not Path(seen["HOME"]).exists(), "the private directory goes with the process"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("saved") / "mine.keras"
    make_classifier("Bert").save(file)
    return file


@pytest.mark.parametrize(
    ("number", "at", "code", "said"),
    [
        ("SIGKILL", "child", 2, "the process that read it was killed (SIGKILL)"),
        ("SIGSEGV", "child", 2, "the process that read it crashed (SIGSEGV)"),
        ("SIGINT", "command", 130, ""),
        ("SIGTERM", "command", 143, "stopped by SIGTERM"),
    ],
)
def test_what_ends_the_process_is_told_in_one_line(number, at, code, said, model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, number, at, "keras", model, "--output", tmp_path / "models"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert code == done.returncode, done.stderr
    assert said in done.stderr
    if at == "child":
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"semserve-export: {model}: ")
    assert not (tmp_path / "models").exists(), "what was made for the output is taken away"


def test_processor_time_is_bounded(model, capfd):
    confinement = Confinement((str(model),), (), cpu_seconds=1)
    assert 2 == run_confined(["parity", str(model)], confinement)
    assert f"{model}: took more than 1 s of processor time" in capfd.readouterr().err
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
