"""The entry point: `semserve-export`, or `python -m semserve_export`."""

import os
import sys

INTERRUPTED = 130  # 128 and the signal's number, as shells count
STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def main() -> int:
    """Run the command line. This is the only module that reads `sys.argv`.

    Ctrl-C ends it without a traceback, also while the command is imported.
    """
    try:
        open_closed_streams()
        from semserve_export.cli.app import run_command_line  # noqa: PLC0415 - inside the `try`

        return run_command_line(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED


def open_closed_streams() -> None:
    """Replace each closed standard stream by the null device.

    Some services and shells (`2>&-`) start commands without such a stream; it is then None in
    Python.
    """
    for number, name, mode in STREAMS:
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)  # the confined process has it too
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


if __name__ == "__main__":
    sys.exit(main())
