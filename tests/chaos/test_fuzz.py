"""No bytes that a caller can send are the server's fault, and none harms the call that follows."""

from __future__ import annotations

from chaos.fuzz import fuzz
from chaos.server import Server


def test_no_request_is_answered_with_a_fault_of_ours(chaos_server: Server) -> None:
    seen = fuzz(chaos_server, examples=100)
    assert 1 < len({method.split()[1] for method in seen}), seen
