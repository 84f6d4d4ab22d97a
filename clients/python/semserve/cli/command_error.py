"""The errors that end a command. Their text is one line that says what to do."""

from typing import ClassVar


class CommandError(Exception):
    """The call failed, or the server could not be reached."""

    code: ClassVar[int] = 1


class UsageError(CommandError):
    """The command line is wrong."""

    code: ClassVar[int] = 2
