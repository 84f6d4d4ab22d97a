"""What a run of the bench was asked for: one frozen value, made from flags and the environment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

SHARED = Path("../shared")
"""Texts and peers that may lie beside a checkout; nothing needs them."""

QUICK = ("serving", "start", "front-end")
"""The parts of `--quick`."""

_Seconds = Annotated[float, Parameter(validator=Number(gt=0, lte=600))]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure, what, and with what."""

    seconds: _Seconds = 3.0
    """Window of one run."""

    warm_up: _Seconds = 1.0
    """What goes before each window and does not count."""

    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=100))] = 3
    """How often each comparison alternates between its sides."""

    quick: bool = False
    """Measure the main parts briefly, in about a minute: windows of 1 s, one round."""

    full: bool = False
    """Measure everything thoroughly: windows of 6 s, five rounds, a model of base size too."""

    only: tuple[str, ...] = ()
    """Parts to run; where none is named all of them, `base` only with `--full`."""

    depths: tuple[int, ...] = (1, 16, 256, 4096)
    """Numbers of single texts that wait at once, for the cost as work grows."""

    models: Path = Path("models")
    """Directory of the bundles."""

    embedder: str = "minilm-l6-v2"
    """The embedding model to load."""

    classifier: Path | None = None
    """Bundle of a classifier as small as BERT-tiny; without it `nli-bert-tiny` where it was
    exported, else the tests' own tiny one."""

    server_flag: tuple[str, ...] = ()
    """Further words for semserve's command line, such as `--server-flag=--batch-workers=2`."""

    variant: str = ""
    """Graph that is held against the peers and the bare runtime, an fp32 one; the best that the
    bundle has where none is named."""

    texts: Path | None = SHARED / "data" / "load"
    """Directory with questions and passages; texts are made up where it is not there."""

    text_count: Annotated[int, Parameter(validator=Number(gte=64, lte=100_000))] = 1500
    """How many different texts are asked."""

    pairs_of_sentences: Path | None = SHARED / "data" / "sts" / "stsb_dev.tsv.gz"
    """Scored pairs that tell how much of its judgement the int8 graph keeps."""

    tei: Path | None = SHARED / "peers" / "text-embeddings-inference" / "tei-router.xz"
    """Program of text-embeddings-inference, plain or packed with xz."""

    mlserver: Path = Path(".cache/mlserver")
    """Environment that MLServer is installed in."""

    install_mlserver: bool = False
    """Install MLServer there from PyPI first."""

    grpcio: Path = Path(".cache/grpcio")
    """Directory of grpcio's newest release, which is compared with the locked one."""

    install_grpcio: bool = False
    """Install it there from PyPI first."""

    cache: Path = Path(".cache")
    """Where what peers need is made."""

    results: Path = Path("results")
    """Where the results are written."""

    picture: Path | None = None
    """File for a second copy of the picture of throughput against latency, an .svg or a .png."""

    def of_its_length(self) -> Settings:
        """Return the settings with the windows, the rounds and the parts of `quick` or `full`.

        Raises:
            ValueError: both are set.
        """
        if self.quick and self.full:
            raise ValueError("--quick and --full exclude each other")
        if self.quick:
            return replace(
                self, seconds=1.0, warm_up=0.5, rounds=1, depths=(1, 64), only=self.only or QUICK
            )
        return replace(self, seconds=6.0, rounds=5) if self.full else self
