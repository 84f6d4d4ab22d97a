"""KerasHub's BERT: loads it with the right activation, and adds one of two heads."""

from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
from keras_hub.src.utils.transformers import convert_bert
from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader
from safetensors import safe_open

from semserve_export.model_spec import Activation, Pooling
from semserve_export.models.activation import set_activation
from semserve_export.models.pooling import PooledTokens


def load_backbone(
    preset: str, activation: Activation, *, dropout: float = 0, precision: str = "float32"
) -> Any:
    """Load a `BertBackbone` from a KerasHub preset or a Hugging Face directory.

    A masked language model has no pooler; its pooler is then initialised as the identity.
    """
    arguments = {"dropout": dropout, "dtype": precision}
    if _lacks_pooler(Path(preset)):
        backbone = keras_hub.models.BertBackbone.from_preset(
            preset, load_weights=False, **arguments
        )
        with _IdentityPooler(preset) as loader:
            convert_bert.convert_weights(backbone, loader, {})
    else:
        backbone = keras_hub.models.BertBackbone.from_preset(preset, **arguments)
    set_activation(backbone, activation)
    return backbone


class _IdentityPooler(SafetensorLoader):
    """Reads a Hugging Face file as if it had a pooler: the identity, followed by tanh."""

    def get_tensor(self, name: str) -> Any:
        """Return a weight, or a part of the identity for the pooler."""
        if not name.startswith("pooler."):
            return super().get_tensor(name)
        hidden = super().get_tensor("embeddings.word_embeddings.weight").shape[1]
        return np.eye(hidden) if name.endswith("weight") else np.zeros(hidden)


def _lacks_pooler(directory: Path) -> bool:
    path = directory / "model.safetensors"
    if not path.is_file():
        return False
    with safe_open(path, "np") as file:
        names = file.keys()
        return not any("pooler." in name for name in names)


def make_embedder(backbone: Any, pooling: str, *, normalize: bool) -> Any:
    """Add pooling over the real tokens, and L2, to the backbone: fp32 [batch, hidden]."""
    if pooling == "pooled":
        return PooledEmbedder(backbone, normalize=normalize)
    if pooling not in {"mean", "cls"}:  # KerasHub's `max` has a constant that tf2onnx loses
        return PooledTokens(backbone, pooling, normalize=normalize)
    return keras_hub.models.BertTextEmbedder(
        backbone, preprocessor=None, pooling_mode=pooling, normalize=normalize
    )


class PooledEmbedder(keras.Model):
    """The backbone's `pooled_output`, a dense layer and tanh on the first token, as an embedding.

    KerasHub's `BertTextEmbedder` has no such pooling; the attributes have its names.
    """

    def __init__(self, backbone: Any, *, normalize: bool) -> None:
        pooled = backbone(backbone.input)["pooled_output"]
        super().__init__(backbone.input, keras.ops.normalize(pooled) if normalize else pooled)
        self.backbone, self.normalize = backbone, normalize
        self.pooling_mode: Pooling = "pooled"


def make_classifier(backbone: Any, classes: int, *, dropout: float = 0) -> Any:
    """Add a new head to the pooled output: fp32 logits [batch, classes]."""
    return keras_hub.models.BertTextClassifier(
        backbone, num_classes=classes, preprocessor=None, dropout=dropout
    )
