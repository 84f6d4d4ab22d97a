"""How glibc allocates memory, and how it returns freed memory to the operating system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

MAPPED_BYTES = 1_048_576
"""Blocks of at least this size are mapped separately, and unmapped when they are freed."""

_M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h: the size from which a block is mapped separately."""
_M_TRIM_THRESHOLD = -1
"""From glibc's malloc.h: free bytes at the end of the heap that cause their return."""


def map_large_blocks() -> None:
    """Keep large blocks out of glibc's heap, for the whole process.

    Otherwise glibc raises its threshold to the largest freed block, up to 32 MiB. Replies of 4 MiB
    then lie in the heap among small objects, and the heap keeps the holes: a client that left its
    128 MiB of replies unread made the server grow by 164 MiB, and 57 MiB of them stayed after the
    client had left. With separate mappings, these numbers are 129 MiB and 9 MiB.
    """
    if mallopt := _of_glibc("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        # Twice the mmap threshold, as in glibc's dynamic mode.
        mallopt(_M_TRIM_THRESHOLD, 2 * MAPPED_BYTES)


def return_memory() -> None:
    """Return freed memory that glibc would keep.

    For MiniLM this is 40 MB after loading and 120 MB after unloading.
    """
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def _of_glibc(name: str) -> Callable[..., Any] | None:
    """Return a function of the C library; None if the library does not have it."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
