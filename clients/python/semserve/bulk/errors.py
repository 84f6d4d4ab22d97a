"""The errors of files. Their text is one line that says what to do."""


class FileError(Exception):
    """A file cannot be read, written or continued."""


class MissingPackage(FileError):
    """A file's format needs a package that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'semserve[{extra}]' brings it")
