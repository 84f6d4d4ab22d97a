"""What clients can make the server hold that ask for large answers and read none."""

from __future__ import annotations

from chaos.large_answers import FLAGS, read_no_large_answers
from chaos.server import serving


async def test_large_answers_that_nobody_reads_cost_no_more_than_their_budget() -> None:
    with serving(*FLAGS) as server:
        figure = await read_no_large_answers(server, waves=2, clients=2)
    assert figure["kept"], figure
