"""The implementation of the command `mix-pairs`."""

import gzip
import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from semserve_export.bundle.runner import Embedder
from semserve_export.cli.terminal import training_progress
from semserve_export.data.augmentation import Augmenter, Pair, Vectors
from semserve_export.data.augmentation_plan import AugmentationPlan
from semserve_export.data.pairs import SIDES, read_unlabelled, words_of


def mix_files(
    files: Sequence[Path], output: Path, plan: AugmentationPlan, console: Console
) -> None:
    """Make new pairs from the texts in files, and write them as JSON Lines."""
    held_out = {words_of(text) for pair in _read(plan.hold_out) for text in pair}
    old = [pair for pair in _read(files) if held_out.isdisjoint(map(words_of, pair))]
    with training_progress(console) as progress:
        embedder = Embedder(plan.embedder, plan.variant) if plan.embedder else None
        embed = partial(_embed, embedder, progress) if embedder else None
        made = Augmenter(old, plan).make(embed)
    # Replacing a word can produce a held-out text.
    new = [pair for pair in made if held_out.isdisjoint(map(words_of, pair))]
    _write(output, new)
    console.print(f"{len(new):,} pairs of {len(old):,} in {output}")


def _embed(embedder: Embedder, progress: Progress, texts: Sequence[str]) -> Vectors:
    task = progress.add_task(f"asking {embedder.name}", total=len(texts))
    return embedder.embed(texts, lambda count: progress.advance(task, count))


def _read(files: Iterable[Path]) -> list[Pair]:
    return [(pair.premise, pair.hypothesis) for pair in read_unlabelled(files).pairs]


def _write(path: Path, pairs: Iterable[Pair]) -> None:
    """Write a line for each pair. The gzip header has no date, so the bytes are reproducible."""
    lines = (json.dumps(dict(zip(SIDES, pair, strict=True)), ensure_ascii=False) for pair in pairs)
    content = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
