"""The entry point: `semserve-export`, or `python -m semserve_export`."""

import sys

from semserve_export.cli import main

if __name__ == "__main__":
    sys.exit(main())
