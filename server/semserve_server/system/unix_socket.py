"""The path of a Unix socket: which server owns it, and who removes it.

gRPC removes any socket at the path that it binds, and at the end it removes the path, even if
another server owns it by then. So gRPC binds a temporary path in the same directory. The socket is
moved to the requested path after a check that no other server answers there. At the end it is
removed only if it is still the same socket.
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
"""Most bytes of a socket's path: the size of the system's `sockaddr_un`."""


class UnixSocket:
    """The path of a socket that a server listens on."""

    def __init__(self, address: str) -> None:
        """Parse the address, and check early that it can work.

        Args:
            address: unix:PATH, with percent-encoding as gRPC reads it; unix:///PATH is the same.

        Raises:
            ConfigError: no socket can be at that path, or another server answers there.
        """
        self._address = address
        path = unquote(address.removeprefix(UNIX))
        self._path = Path(path.removeprefix("//"))
        if self._path.name in ("", "..") or "\0" in path:
            raise self._error("the path does not name a file: give unix:PATH")
        # The name is short, because the directory may leave few bytes.
        self._own = self._path.with_name(f".{secrets.token_hex(4)}")
        self._identity: tuple[int, int] | None = None
        longest = max(len(os.fsencode(one)) for one in (self._path, self._own))
        if longest > MAX_PATH_BYTES:
            raise self._error(f"the path is over {MAX_PATH_BYTES} bytes: use a shorter one")
        if not self._path.parent.is_dir():
            raise self._error("the directory does not exist")
        self._check()

    @property
    def own_address(self) -> str:
        """The temporary address that gRPC listens on."""
        return f"{UNIX}{quote(str(self._own))}"

    def publish(self) -> None:
        """Move the socket from the temporary path to the requested path.

        Raises:
            ConfigError: another server was faster, or the directory is not writable.
        """
        try:
            with self._locked():
                self._check()
                found = self._own.stat()
                self._own.rename(self._path)
                self._identity = found.st_dev, found.st_ino
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def remove_own(self) -> None:
        """Remove the socket at the temporary path, if it was not moved."""
        with contextlib.suppress(OSError):
            self._own.unlink()

    def remove(self) -> None:
        """Remove the socket, unless the path belongs to another server by now."""
        with contextlib.suppress(OSError), self._locked():
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._identity:
                # Remove it only once: the socket of another server may get the same inode number
                # later.
                self._identity = None
                self._path.unlink()

    def _check(self) -> None:
        """Refuse a path that is not a socket, or at which another server answers.

        Raises:
            ConfigError: with the reason.
        """
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        if not stat.S_ISSOCK(mode):
            raise self._error("the file there is not a socket: remove it, or use another path")
        if _answers(self._path):
            raise self._error("another server answers there: stop it, or use another path")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other semserve processes that start or end at the same time in this directory."""
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

    def _error(self, reason: str) -> ConfigError:
        return ConfigError(f"--address {self._address}: cannot listen there: {reason}")


def _answers(path: Path) -> bool:
    """Return whether a server listens at a socket, even if it is too busy to answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        refused = {errno.ECONNREFUSED, errno.ENOENT, errno.ENOTSOCK}
        return probe.connect_ex(os.fsencode(path)) not in refused
