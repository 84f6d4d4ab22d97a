"""Watchers that come back, a log that nobody reads, a reload beside a run that hangs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from chaos.obstacles import OBSTACLES


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda one: one.__name__)
async def test_a_server_answers_and_ends_whatever_is_in_its_way(
    obstacle: Callable[[], Awaitable[None]],
) -> None:
    await obstacle()
