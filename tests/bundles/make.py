"""Exports the two tiny bundles of the tests from seeded random weights, by the real export stage.

Run it as `make tiny-bundles`. They are kept in the repository so that the server's tests need
neither TensorFlow nor a download: 2 layers, 16 wide, a vocabulary of characters and some words.
"""

import os
import string
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_hub
import numpy as np
from semserve_export.model_spec import ModelSpec
from semserve_export.models import bert
from semserve_export.models.activation import set_activation
from semserve_export.models.loaded_model import LICENCES, LoadedModel
from semserve_export.pipeline.export import export_model
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer

WORDS = """
    the a an is are was on in at of to and or not it i you we he she they cat dog mat sat sits
    sitting man woman child boy girl people playing eating sleeping running walking food music
    guitar piano rain raining sun sunny weather train subway bus car city house street hello world
    good bad new old big small red blue green one two three four five six seven eight nine ten
"""
CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation + "…—€中文日本語"
SIZE = {
    "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32,
    "max_sequence_length": 64,
}  # fmt: skip
SEED = 20_240_101
NOTICE = "Random weights, made for the tests of semserve.\n"

EMBEDDER = ModelSpec(
    name="tiny-embed",
    description="random weights for tests: 16 dimensions, mean pooling and L2",
    task="embedding",
    activation="erf",
    max_sequence_length=64,
    pooling="mean",
    normalized=True,
    metric="cosine",
)
CLASSIFIER = ModelSpec(
    name="tiny-nli",
    description="random weights for tests: three labels for pairs",
    task="classification",
    activation="erf",
    max_sequence_length=64,
    labels=("entailment", "neutral", "contradiction"),
    pair=True,
)


def main(directory: Path) -> None:
    """Write both bundles below `directory`."""
    for spec in (EMBEDDER, CLASSIFIER):
        export_model(load(spec), directory / spec.name, print)


def load(spec: ModelSpec) -> LoadedModel:
    """Make a model of random weights, large enough that different texts differ visibly."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary += [
        *CHARACTERS,
        *(f"##{c}" for c in string.ascii_lowercase + string.digits),
        *WORDS.split(),
    ]
    vocabulary = list(dict.fromkeys(vocabulary))
    keras.utils.set_random_seed(SEED)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary), dropout=0, dtype="float32", **SIZE
    )
    set_activation(backbone, spec.activation)
    if spec.task == "embedding":
        model = bert.make_embedder(backbone, spec.pooling, normalize=True)
    else:
        model = bert.make_classifier(backbone, len(spec.labels))
    draw = np.random.default_rng(SEED)
    for variable in model.trainable_variables:
        if variable.name in {"kernel", "embeddings"}:
            variable.assign(draw.normal(0, 0.5, variable.shape).astype("float32"))
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=build_tokenizer(vocabulary, lowercase=True, strip_accents=True),
        source="seeded random weights",
        sha256=None,
        licence=(LICENCES / "Apache-2.0.txt").read_text(encoding="utf-8"),
        notice=NOTICE,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
