"""The sample matches job titles and ranks places to live as its words mean."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

SAMPLE = ROOT / "clients" / "python" / "sample"


@pytest.mark.parametrize(
    ("model", "right"),
    [("minilm-l6-v2", 10), ("minilm-l6-v2-cls", 9), ("minilm-l6-v2-pooled", 9)],
)
def test_titles_find_their_occupation_and_wishes_a_home(
    real_address: str, model: str, right: int
) -> None:
    if not (ROOT / "models" / model / "bundle.json").is_file():
        pytest.skip(f"models/{model} is not there: run `make models MODELS={model}`")
    printed = subprocess.run(
        [sys.executable, SAMPLE / "matching.py", "--address", real_address, "--model", model],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    titles, *wishes = printed.split("\n\n")
    occupations = [line[6:].split("  ")[0] for line in titles.splitlines()]
    expected = [
        *("software developer", "nurse", "teacher", "cook", "accountant", "lawyer"),
        *("bus driver", "plumber", "hairdresser", "journalist"),
    ]
    assert len(expected) == len(occupations)
    assert sum(one == other for one, other in zip(expected, occupations, strict=True)) >= right
    assert 4 == len(wishes)
    listings = (SAMPLE / "listings.txt").read_text(encoding="utf-8").splitlines()
    for wish in wishes:
        heading, *best = wish.strip().splitlines()
        assert heading.endswith(f"the best of {len(listings)}")
        assert 3 == len(best)
        assert {line[6:] for line in best} <= set(listings)
        assert sorted(best, key=lambda line: float(line[:4]), reverse=True) == best
    assert "beach" in wishes[0]
