"""The keys of a file, read again when it changes, and who holds them."""

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
from semserve_server.system.file_watch import Changes

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the file is looked at: a key that is taken out of it is refused so soon."""
INLINE_BYTES = 65_536
"""Key files of fewer bytes, some 600 keys, are read on the event loop, in 2 ms. One of the largest
size would block it for half a second."""
PRINCIPAL: ContextVar[Principal] = ContextVar("principal")
"""Who calls, in the context of what answers the call; unset where no keys are wanted."""


class Principal:
    """Who calls with a key: lives as long as the key, over every reading of the file."""

    def __init__(self, key_store: KeyStore, key: Key, now: float) -> None:
        self._key_store = key_store
        self.usage = key_store.usage.setdefault(key.name, KeyCounters())
        """What was asked with the keys of this name, this one's predecessors included."""
        self.key: Key | None = key
        """None once the key is no longer in the file."""
        self._name = key.name
        self._bucket = self._new_bucket(key, now)

    def __repr__(self) -> str:
        return f"<Principal {self._name} {self._bucket!r}>"

    @property
    def name(self) -> str:
        """The key's name."""
        return self._name

    def renew(self, key: Key, now: float) -> None:
        """Take what a new reading of the file says of the same key."""
        if self.key is None or key.tokens_per_second != self.key.tokens_per_second:
            self._bucket = self._new_bucket(key, now)
        self.key = key

    def _new_bucket(self, key: Key, now: float) -> RateLimiter | None:
        if key.tokens_per_second is None:
            return None
        return RateLimiter(key.tokens_per_second / self._key_store.processes, now=now)

    def present(self) -> Key:
        """Return the key, which a stream may have outlived.

        Raises:
            Unauthenticated: it is no longer in the file.
        """
        self._key_store.look()
        if self.key is None:
            raise Unauthenticated("the key is no longer known")
        return self.key

    def may_use(self, model: str) -> bool:
        """Tell whether the key is for a model.

        Raises:
            Unauthenticated: as `present`.
        """
        key = self.present()
        return key.models is None or model in key.models

    def check_model(self, model: str) -> None:
        """Refuse a model that the key is not for, whether there is one of that name or not.

        Raises:
            PermissionDenied: it is not.
            Unauthenticated: as `present`.
        """
        if not self.may_use(model):
            raise PermissionDenied(f"the key {self._name!r} is not for this model")

    def check_control(self) -> None:
        """Refuse to load and unload models.

        Raises:
            PermissionDenied: the key may not.
            Unauthenticated: as `present`.
        """
        if not self.present().control:
            raise PermissionDenied(f"the key {self._name!r} may not load and unload models")

    def reserve(self, tokens: int) -> Charge:
        """Charge the key for a request, by an estimate, unless earlier ones are not paid for.

        The estimate is charged at once, so that requests that arrive together see each other.

        Args:
            tokens: what the request is expected to cost.

        Raises:
            Overloaded: with the seconds until the earlier requests are paid for.
        """
        clock = self._key_store.clock
        if self._bucket is not None:
            wait = self._bucket.wait(clock())
            if wait:
                raise Overloaded(
                    f"the key {self._name!r} has used its tokens a second",
                    retry_after=wait,
                    cause="rate",
                )
        return Charge(self._bucket, tokens, clock)


class Charge:
    """What one request costs its key; a context manager around the request's work.

    Until the true cost is known the estimate is charged. Where the work fails before it is
    admitted, or through no fault of the caller, nothing is charged. A request whose caller leaves
    after it was admitted stays charged: its texts may have run.
    """

    __slots__ = ("_bucket", "_clock", "_settled", "_tokens")

    def __init__(self, bucket: RateLimiter | None, tokens: int, clock: Callable[[], float]) -> None:
        """Charge an estimate.

        Args:
            bucket: of the key; None where its rate is not bounded.
            tokens: the estimate.
            clock: seconds, from any beginning.
        """
        self._bucket = bucket
        self._clock = clock
        self._tokens = 0
        self._settled = False
        self._set(tokens)

    def settle(self, tokens: int) -> None:
        """Charge what the request costs in truth, in place of the estimate."""
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
    """Who may call. Used on the event loop alone."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic, processes: int = 1
    ) -> None:
        """Read the file.

        Args:
            path: of the file.
            clock: seconds, from any beginning.
            processes: how many like this one divide the rates of keys.

        Raises:
            ConfigError: it cannot be read, or a line is wrong.
        """
        self.clock = clock
        self.processes = processes
        self._changes = Changes(path)
        self._path = path
        self.usage: dict[str, KeyCounters] = {}
        """What was asked with each key, by its name; those in the file alone."""
        self._keys: dict[str, Key] = {}
        self._principals: dict[str, Principal] = {}
        self._looked = clock()
        self._complaint = ""
        self._changes.seen()
        self._reading: asyncio.Future[dict[str, Key]] | None = None
        try:
            self._take(read_keys(path))
        except (OSError, ValueError) as error:
            raise ConfigError(f"--api-key-file {path}: {_why(error)}") from error

    def __len__(self) -> int:
        return len(self._keys)

    def principal(self, presented: str) -> Principal:
        """Return who holds a key.

        Raises:
            Unauthenticated: there is no such key. The message is the same whatever is wrong.
        """
        self.look()
        key = keys.find(self._keys, presented)
        if key is None:
            raise Unauthenticated("the key is not known")
        # Made for keys that are used, of which there are fewer than there may be in the file.
        if key.name not in self._principals:
            self._principals[key.name] = Principal(self, key, self.clock())
        return self._principals[key.name]

    def look(self) -> None:
        """Read the file again if it has changed; one that is wrong changes nothing but the log.

        A large one is read on a thread, and until that has ended the former keys stay.
        """
        now = self.clock()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self._reading is not None or not self._changes.seen():
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
        except OSError:  # reading it says what is wrong
            return True

    def _read(self, reading: asyncio.Future[dict[str, Key]]) -> None:
        self._reading = None
        if not reading.cancelled():
            self._renew(reading.result)

    def _renew(self, read: Callable[[], dict[str, Key]]) -> None:
        """Take the keys that were read, if they can be used."""
        try:
            self._take(read())
        except (OSError, ValueError) as error:
            self._changes.forget()
            if self._complaint != _why(error):
                self._complaint = _why(error)
                log.warning(
                    "--api-key-file %s: %s; the former keys stay", self._path, self._complaint
                )
        else:
            self._complaint = ""
            log.info("--api-key-file %s: read again, %d keys", self._path, len(self))

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


def _why(error: OSError | ValueError) -> str:
    return (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)
