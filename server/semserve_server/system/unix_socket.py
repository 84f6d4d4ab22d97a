"""A Unix socket's path: who may have it, and whose it is at the end.

gRPC removes whatever socket it finds at the path that it binds, and at its end removes the path
whoever has it by then. So it binds a path of its own beside the one that is asked for. That is
moved into its place once nobody else answers there, and is removed at the end if it still is ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from semserve_server.errors import ConfigError

UNIX = "unix:"
MAX_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""Most bytes of a socket's path: what the system's `sockaddr_un` holds."""


class UnixSocket:
    """A path that a server is to listen at."""

    def __init__(self, address: str) -> None:
        """Take the address apart, and find out early what cannot work.

        Args:
            address: unix:PATH, with percent signs as gRPC reads them; unix:///PATH is the same.

        Raises:
            ConfigError: no socket can be at that path, or somebody answers there.
        """
        self._address = address
        path = unquote(address.removeprefix(UNIX))
        self._path = Path(path.removeprefix("//"))
        if self._path.name in ("", "..") or "\0" in path:
            raise self._error("that is no path of a file: give unix:PATH")
        # Short, for the directory may leave little room.
        self._own = self._path.with_name(f".{secrets.token_hex(4)}")
        self._identity: tuple[int, int] | None = None
        longest = max(len(os.fsencode(one)) for one in (self._path, self._own))
        if longest > MAX_PATH_BYTES:
            raise self._error(f"the path is over {MAX_PATH_BYTES} bytes: take a shorter one")
        if not self._path.parent.is_dir():
            raise self._error("there is no such directory")
        self._check()

    @property
    def own_address(self) -> str:
        """What gRPC is to listen at."""
        return f"{UNIX}{quote(str(self._own))}"

    def publish(self) -> None:
        """Move the socket that gRPC listens at to the path that was asked for.

        Raises:
            ConfigError: somebody was quicker, or the directory cannot be written.
        """
        try:
            with self._alone():
                self._check()
                found = self._own.stat()
                self._own.rename(self._path)
                self._identity = found.st_dev, found.st_ino
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def remove_own(self) -> None:
        """Remove the socket that gRPC listens at, where it was not moved."""
        with contextlib.suppress(OSError):
            self._own.unlink()

    def remove(self) -> None:
        """Remove the socket, unless the path is another's by now."""
        with contextlib.suppress(OSError), self._alone():
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._identity:
                # Once only, for another's socket may get the number of the file that was ours.
                self._identity = None
                self._path.unlink()

    def _check(self) -> None:
        """Refuse a path that is no socket, or where somebody answers.

        Raises:
            ConfigError: as it says.
        """
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        if not stat.S_ISSOCK(mode):
            raise self._error("there is a file that is no socket: remove it, or take another path")
        if _answers(self._path):
            raise self._error("another server answers there: stop it, or take another path")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep servers of ours that start or end at the same time from this directory's sockets."""
        if sys.platform == "win32":
            yield
            return
        import fcntl  # noqa: PLC0415  (Windows has none)

        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    def _error(self, why: str) -> ConfigError:
        return ConfigError(f"--address {self._address}: cannot listen there: {why}")


def _answers(path: Path) -> bool:
    """Tell whether somebody listens at a socket, also if too busy to answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        refused = {errno.ECONNREFUSED, errno.ENOENT, errno.ENOTSOCK}
        return asking.connect_ex(os.fsencode(path)) not in refused
