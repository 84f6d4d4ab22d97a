"""Why a command stops without an answer. The text is one line that says what to do."""

from typing import ClassVar


class CommandError(Exception):
    """The server could not be asked, or did not answer."""

    code: ClassVar[int] = 1


class UsageError(CommandError):
    """The command was asked for in a wrong way."""

    code: ClassVar[int] = 2
