"""The table of cases that every client passes, and the file that holds it: `make cases`.

Vectors and logits are the golden answers that Keras gave for the tiny bundles; scores and cut
vectors are computed from them here. What models of other kinds answer comes from the formulas of
tests/tiny_kinds.py. CASES.md describes the format.
"""

from __future__ import annotations

import json
from pathlib import Path

from clients.shared_cases import answers, kinds, models, streams
from clients.shared_cases.golden import Case, Golden

CASES = Path(__file__).parents[1] / "cases.json"


def table() -> Case:
    """Make the whole table."""
    golden = Golden()
    return {
        "format": 1,
        "tolerance": 1e-5,
        "cases": [
            *answers.embedding(golden),
            *answers.classification(golden),
            *answers.similarity(golden),
            *models.models(golden),
            *kinds.scores(),
            *kinds.sparse(),
            *kinds.prompts(),
            *models.refused(golden),
            *streams.streams(golden),
            *streams.endings(golden),
            *streams.secured(golden),
            *streams.failover(golden),
        ],
    }


def write(file: Path) -> None:
    """Write the table, a case a line."""
    made = table()
    lines = ",\n".join(f"    {json.dumps(case, ensure_ascii=False)}" for case in made.pop("cases"))
    head = json.dumps(made)[1:-1]
    file.write_text(f'{{\n  {head},\n  "cases": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
