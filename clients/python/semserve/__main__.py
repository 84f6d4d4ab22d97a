"""`python -m semserve` is the command `semserve`."""

from semserve.cli import main

if __name__ == "__main__":
    main()
