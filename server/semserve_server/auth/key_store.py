"""The keys of a key file, reloaded when the file changes, and the principals that use them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from semserve_server.auth import api_key as keys
from semserve_server.auth.api_key import Key
from semserve_server.auth.key_file import read_keys
from semserve_server.auth.rate_limiter import RateLimiter
from semserve_server.errors import (
    ConfigError,
    Draining,
    InferenceFailed,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
)
from semserve_server.instrumentation.counters import KeyCounters
from semserve_server.system.file_watch import FileWatch

log = logging.getLogger(__name__)

FILE_CHECK_SECONDS = 1.0
"""Interval of the checks for changes. The server refuses a removed key within this time."""
INLINE_BYTES = 65_536
"""Smaller key files, with up to some 600 keys, are read on the event loop in 2 ms. A file of the
largest size would block the event loop for half a second."""
PRINCIPAL: ContextVar[Principal] = ContextVar("principal")
"""The caller's principal, in the context of the handler; unset if the server has no key file."""


class Principal:
    """A caller with a key. Exists as long as the key, over all reloads of the file."""

    def __init__(self, key_store: KeyStore, key: Key, now: float) -> None:
        self._key_store = key_store
        self.usage = key_store.usage.setdefault(key.name, KeyCounters())
        """Usage of all keys with this name, including earlier keys."""
        self.key: Key | None = key
        """None after the key was removed from the file."""
        self._name = key.name
        self._bucket = self._new_bucket(key, now)

    def __repr__(self) -> str:
        return f"<Principal {self._name} {self._bucket!r}>"

    @property
    def name(self) -> str:
        """Name of the key."""
        return self._name

    def renew(self, key: Key, now: float) -> None:
        """Take the present line of the key file for the same key."""
        if self.key is None or key.tokens_per_second != self.key.tokens_per_second:
            self._bucket = self._new_bucket(key, now)
        self.key = key

    def _new_bucket(self, key: Key, now: float) -> RateLimiter | None:
        if key.tokens_per_second is None:
            return None
        return RateLimiter(key.tokens_per_second / self._key_store.processes, now=now)

    def present(self) -> Key:
        """Return the key. A stream may outlive its key.

        Raises:
            Unauthenticated: the key is no longer in the file.
        """
        self._key_store.check_file()
        if self.key is None:
            raise Unauthenticated("the key is no longer valid")
        return self.key

    def may_use(self, model: str) -> bool:
        """Return whether the key may use a model.

        Raises:
            Unauthenticated: as `present`.
        """
        key = self.present()
        return key.models is None or model in key.models

    def check_model(self, model: str) -> None:
        """Refuse a model that the key may not use, whether the model exists or not.

        Raises:
            PermissionDenied: the key may not use the model.
            Unauthenticated: as `present`.
        """
        if not self.may_use(model):
            raise PermissionDenied(f"the key {self._name!r} may not use this model")

    def check_control(self) -> None:
        """Refuse to load and unload models without the right to do so.

        Raises:
            PermissionDenied: the key does not have the right.
            Unauthenticated: as `present`.
        """
        if not self.present().control:
            raise PermissionDenied(f"the key {self._name!r} may not load and unload models")

    def reserve(self, tokens: int) -> Charge:
        """Charge the key for a request by an estimate, unless the key is in debt.

        The estimate is charged immediately, so that simultaneous requests count for each other.

        Args:
            tokens: estimated cost of the request.

        Raises:
            Overloaded: the key is in debt; has the seconds until the debt is paid.
        """
        clock = self._key_store.clock
        if self._bucket is not None:
            wait = self._bucket.wait(clock())
            if wait:
                raise Overloaded(
                    f"the key {self._name!r} has used its tokens per second",
                    retry_after=wait,
                    cause="rate",
                )
        return Charge(self._bucket, tokens, clock)


class Charge:
    """The cost of one request for its key. A context manager around the request's work.

    The estimate is charged until the actual cost is known. If the work fails before admission, or
    without a fault of the caller, nothing is charged. A request that its caller cancels after
    admission stays charged, because its texts may have run.
    """

    __slots__ = ("_bucket", "_clock", "_settled", "_tokens")

    def __init__(self, bucket: RateLimiter | None, tokens: int, clock: Callable[[], float]) -> None:
        """Charge an estimate.

        Args:
            bucket: rate limiter of the key; None without a limit.
            tokens: the estimate.
            clock: in seconds.
        """
        self._bucket = bucket
        self._clock = clock
        self._tokens = 0
        self._settled = False
        self._set(tokens)

    def settle(self, tokens: int) -> None:
        """Replace the estimate by the actual cost."""
        self._set(tokens)
        self._settled = True

    def _set(self, tokens: int) -> None:
        if self._bucket is not None:
            self._bucket.spend(tokens - self._tokens, self._clock())
        self._tokens = tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        refused = isinstance(error, (Overloaded, Draining, InferenceFailed))
        if error is not None and (refused or not self._settled):
            self._set(0)


FREE = Charge(None, 0, time.monotonic)
"""The charge of a request without a key."""


class KeyStore:
    """The keys that may call. Used only on the event loop."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic, processes: int = 1
    ) -> None:
        """Read the file.

        Args:
            path: the key file.
            clock: in seconds.
            processes: number of server processes that divide the rates of the keys.

        Raises:
            ConfigError: the file cannot be read, or a line is invalid.
        """
        self.clock = clock
        self.processes = processes
        self._file_watch = FileWatch(path)
        self._path = path
        self.usage: dict[str, KeyCounters] = {}
        """Usage of each key in the file, by its name."""
        self._keys: dict[str, Key] = {}
        self._principals: dict[str, Principal] = {}
        self._checked_at = clock()
        self._last_error = ""
        self._file_watch.changed()
        self._reading: asyncio.Future[dict[str, Key]] | None = None
        try:
            self._take(read_keys(path))
        except (OSError, ValueError) as error:
            raise ConfigError(f"--api-key-file {path}: {_reason(error)}") from error

    def __len__(self) -> int:
        return len(self._keys)

    def principal(self, presented: str) -> Principal:
        """Return the principal of a key.

        Raises:
            Unauthenticated: there is no such key. The message does not depend on the reason.
        """
        self.check_file()
        key = keys.find(self._keys, presented)
        if key is None:
            raise Unauthenticated("the key is unknown")
        # Principals are created only for keys in use, which can be far fewer than the keys of the
        # file.
        if key.name not in self._principals:
            self._principals[key.name] = Principal(self, key, self.clock())
        return self._principals[key.name]

    def check_file(self) -> None:
        """Reload the file if it has changed. An invalid file changes nothing and is logged.

        A large file is read on a thread; the present keys stay until it is read.
        """
        now = self.clock()
        if now - self._checked_at < FILE_CHECK_SECONDS:
            return
        self._checked_at = now
        if self._reading is not None or not self._file_watch.changed():
            return
        if self._is_small():
            self._renew(partial(read_keys, self._path))
        else:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(None, read_keys, self._path)
            self._reading.add_done_callback(self._read)

    def _is_small(self) -> bool:
        try:
            return self._path.stat().st_size < INLINE_BYTES
        except OSError:  # reading the file reports the error
            return True

    def _read(self, reading: asyncio.Future[dict[str, Key]]) -> None:
        self._reading = None
        if not reading.cancelled():
            self._renew(reading.result)

    def _renew(self, read: Callable[[], dict[str, Key]]) -> None:
        """Use the keys that were read, if they are valid."""
        try:
            self._take(read())
        except (OSError, ValueError) as error:
            self._file_watch.reset()
            if self._last_error != _reason(error):
                self._last_error = _reason(error)
                log.warning(
                    "--api-key-file %s: %s; the present keys stay", self._path, self._last_error
                )
        else:
            self._last_error = ""
            log.info("--api-key-file %s: reloaded, %d keys", self._path, len(self))

    def _take(self, found: dict[str, Key]) -> None:
        now = self.clock()
        for name, principal in list(self._principals.items()):
            key = found.get(name)
            if key is None or principal.key is None or key.sha256 != principal.key.sha256:
                principal.key = None
                del self._principals[name]
            else:
                principal.renew(key, now)
        for name in self.usage.keys() - found.keys():
            del self.usage[name]
        self._keys = found


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)
