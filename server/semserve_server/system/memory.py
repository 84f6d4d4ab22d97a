"""How glibc allocates memory, and how it gives freed memory back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

MAPPED_BYTES = 1_048_576
"""Blocks of at least so many bytes are mapped by themselves, and unmapped when they are freed."""

_M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h: the size from which a block is mapped by itself."""
_M_TRIM_THRESHOLD = -1
"""Of glibc's malloc.h: the free bytes at the end of the heap past which they are given back."""


def map_large_blocks() -> None:
    """Keep large blocks out of glibc's heap, for the whole process.

    Without this glibc raises its threshold to the largest block that was freed, up to 32 MiB.
    Answers of 4 MiB then lie in the heap among their working memory, which keeps its holes: a
    client that left its share of 128 MiB unread made the server grow by 164 MiB, and 57 of them
    stayed when it had left. Mapped by themselves they are 129 and 9.
    """
    if mallopt := _of_glibc("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        # Twice the other, as glibc has it where it chooses both.
        mallopt(_M_TRIM_THRESHOLD, 2 * MAPPED_BYTES)


def return_memory() -> None:
    """Give back what glibc would keep: of MiniLM, 40 MB after its loading and 120 after its end."""
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def _of_glibc(name: str) -> Callable[..., Any] | None:
    """Return a function of the C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
