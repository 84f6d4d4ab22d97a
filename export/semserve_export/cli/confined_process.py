"""The confined process that reads an untrusted model. The command starts it and waits for it.

    python -m semserve_export.cli.confined_process CONFINEMENT ARGUMENT…

It runs the same command line and prints its own output; the command returns its exit code.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from semserve_export.confinement.process_limits import Confinement, confine

FAILED, INTERRUPTED = 2, 130
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEPT = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR"}
    | {"FORCE_COLOR", "LD_LIBRARY_PATH", "SEMSERVE_WEIGHTS", "VIRTUAL_ENV"}
)
KEPT_PREFIXES = ("LC_", "PYTHON", "TF_", "XLA_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_")
"""Environment variables that are passed on; any other variable may be a secret."""


def run_confined(arguments: Sequence[str], confinement: Confinement) -> int:
    """Run a command line in a confined process, and return its exit code.

    Signals that end a command are passed on. If the system kills the process, the command prints
    one line, and the exit code is 2.
    """
    _compile_keras()
    created = _make_directories(confinement.writes or ())
    with tempfile.TemporaryDirectory(prefix="semserve-export-") as private:
        command = [sys.executable, "-P", "-m", __name__, json.dumps(asdict(confinement))]
        with _signals_passed_on() as started:
            # `main` unblocks it: while Python starts, Ctrl-C would end in a traceback.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            try:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                    [*command, *arguments],
                    env=_environment(os.environ, private, everything=confinement.network),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
                started(process)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            code = process.wait()
    for directory in created:
        with suppress(OSError):  # it contains files by now
            directory.rmdir()
    if code >= 0:
        return code
    sys.stderr.write(f"semserve-export: {_ending(-code, confinement)}\n")
    return 128 - code if -code in PASSED_ON else FAILED


def _environment(variables: Mapping[str, str], private: str, *, everything: bool) -> dict[str, str]:
    """Return the environment of the process, with a separate home directory.

    A download needs the whole environment, with its caches, its proxy and its key.
    """
    kept = {
        name: value
        for name, value in variables.items()
        if everything or name in KEPT or name.startswith(KEPT_PREFIXES)
    }
    return kept | {"TMPDIR": private} | ({} if everything else {"HOME": private})


@contextmanager
def _signals_passed_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Pass signals on to a process. Yields the function that names it once it has started.

    A signal that arrives while the process starts is sent afterwards. If it raised an error there,
    the process would keep running.
    """
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def started(process: subprocess.Popen[bytes]) -> None:
        children.append(process)
        for number in early:
            process.send_signal(number)

    def pass_on(number: int, _: FrameType | None) -> None:
        if children:
            children[0].send_signal(number)
        else:
            early.append(number)

    def pause(_: int, __: FrameType | None) -> None:
        for child in children:
            child.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        for child in children:  # another process has continued us by now
            child.send_signal(signal.SIGCONT)

    handlers = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, pause)
    try:
        yield started
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _ending(number: int, confinement: Confinement) -> str:
    """Describe in one line what ended the process."""
    name, models = signal.Signals(number).name, " and ".join(confinement.reads)
    if number in PASSED_ON:
        return f"stopped by {name}"
    if number == signal.SIGKILL:
        return (
            f"{models}: the process that read it was killed (SIGKILL), which the system does where"
            " memory runs out; export it where there is more"
        )
    if number == signal.SIGXCPU:
        return f"{models}: took more than {confinement.cpu_seconds} s of processor time"
    return (
        f"{models}: the process that read it crashed ({name}); the file is damaged or hostile, or"
        " memory ran out"
    )


def _make_directories(paths: Sequence[str]) -> list[Path]:
    """Create the output directories, and return the new ones, the innermost first."""
    created: list[Path] = []
    for path in map(Path, paths):
        missing = [each for each in (path, *path.parents) if not each.exists()]
        with suppress(OSError):  # the command itself reports the error
            path.mkdir(parents=True, exist_ok=True)
            created += missing
    return created


def _compile_keras() -> None:
    """Compile Keras to bytecode if necessary: a confined process cannot store the bytecode."""
    keras = importlib.util.find_spec("keras")
    if sys.dont_write_bytecode or not (keras and keras.origin):
        return
    compiled = Path(importlib.util.cache_from_source(keras.origin))
    if not compiled.exists() and os.access(Path(keras.origin).parent, os.W_OK):
        command = [sys.executable, "-P", "-c", "import semserve_export.cli.export_commands"]
        with suppress(OSError):
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - our own


def main() -> int:
    """Confine this process, and run the command line in it."""
    facts = json.loads(sys.argv[1])
    writes = facts["writes"]
    confinement = Confinement(
        reads=tuple(facts["reads"]),
        writes=None if writes is None else tuple(writes),
        network=facts["network"],
        cpu_seconds=facts["cpu_seconds"],
    )
    confine(confinement, Path(tempfile.gettempdir()))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        from semserve_export.cli.app import run_command_line  # noqa: PLC0415 - it imports this module

        return run_command_line(sys.argv[2:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except MemoryError:
        models = " and ".join(confinement.reads)
        sys.stderr.write(f"semserve-export: {models}: needs more memory than there is\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
