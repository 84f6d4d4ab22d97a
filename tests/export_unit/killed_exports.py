"""Writes a bundle again and again, and is killed at each line of the way; a program of its own.

It prints one line of JSON for each kill: what was at the bundle's name right after it, what was
there after the next process had swept, and what else was left in the directory.
"""

import json
import os
import signal
import sys
from pathlib import Path

from semserve_export.bundle.layout import write_bundle
from semserve_export.files import atomic_directory

WATCHED = atomic_directory.__file__


def main(models, *, exchange):
    """Kill a writer at its first line, at its second, and so on, until one of them gets through."""
    if not exchange:
        atomic_directory.exchange = lambda *_: False  # as a file system without it answers
    bundle = models / "tiny"
    write_bundle(bundle, fill_with("old"))
    line = killed = 1
    while killed:
        child = os.fork()
        if not child:
            sys.settrace(killer(line))
            write_bundle(bundle, fill_with(f"new {line}"))
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        at_once = content_of(bundle)
        atomic_directory.sweep(models)
        left = [path.name for path in models.iterdir() if path != bundle]
        sys.stdout.write(json.dumps([line, killed, at_once, content_of(bundle), left]) + "\n")
        line += 1


def killer(number):
    """Make a trace function that kills the process before it runs the line of that number."""
    lines = iter(range(1, number))

    def trace(frame, event, _):
        if frame.f_code.co_filename != WATCHED:
            return None
        if event == "line" and next(lines, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def fill_with(content):
    """Make what writes a bundle of one file."""

    def fill(directory):
        (directory / "file").write_text(content)
        return {"content": content}

    return fill


def content_of(bundle):
    """Return what a whole bundle holds; None where there is none, or two that were mixed."""
    try:
        manifest = json.loads((bundle / "bundle.json").read_text())["content"]
        file = (bundle / "file").read_text()
    except OSError:
        return None
    return manifest if manifest == file else "mixed"


if __name__ == "__main__":
    main(Path(sys.argv[1]), exchange=sys.argv[2] == "exchange")
