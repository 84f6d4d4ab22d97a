"""The entry point: `semserve-export`, or `python -m semserve_export`."""

import sys

from semserve_export.cli import run_command_line


def main() -> int:
    """Run what the command line asks for; the only place that reads it."""
    return run_command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
