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
from semserve_export.errors import ExportError
from semserve_export.failures import naming_a_full_disk


def mix_files(
    files: Sequence[Path], output: Path, plan: AugmentationPlan, console: Console
) -> None:
    """Make new pairs from the texts in files, and write them as JSON Lines."""
    held_out = {words_of(text) for pair in _read(plan.hold_out) for text in pair}
    old = [pair for pair in _read(files) if held_out.isdisjoint(map(words_of, pair))]
    if not old:
        raise ExportError("--hold-out: every pair has one of its texts, so none is left to mix")
    with training_progress(console) as progress:
        embedder = Embedder(plan.embedder, plan.variant) if plan.embedder else None
        embed = partial(_embed, embedder, progress) if embedder else None
        made = Augmenter(old, plan).make(embed)
    # Replacing a word can produce a held-out text.
    new = [pair for pair in made if held_out.isdisjoint(map(words_of, pair))]
    if not new:
        raise ExportError(f"no new pair can be made of the {len(old):,} pairs")
    with naming_a_full_disk(output):
        _write(output, new)
    console.print(f"{len(new):,} pairs of {len(old):,} in {output}")


def _embed(embedder: Embedder, progress: Progress, texts: Sequence[str]) -> Vectors:
    task = progress.add_task(f"asking {embedder.name}", total=len(texts))
    return embedder.embed(texts, lambda count: progress.advance(task, count))


def _read(files: Iterable[Path]) -> list[Pair]:
    read = read_unlabelled(files)
    if read.single:
        raise ExportError(f"{', '.join(read.sha256)}: holds single texts, and pairs are needed")
    return [(pair.premise, pair.hypothesis) for pair in read.pairs]


def _write(path: Path, pairs: Iterable[Pair]) -> None:
    """Write a line for each pair, whole or not at all.

    The gzip header has no date, so the bytes are reproducible.
    """
    lines = (json.dumps(dict(zip(SIDES, pair, strict=True)), ensure_ascii=False) for pair in pairs)
    content = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
