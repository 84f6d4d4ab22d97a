"""A BERT preset as it lies on disk or behind a KerasHub handle, and what it says about itself.

There are two kinds: KerasHub's own (`save_to_preset`), and Hugging Face directories, which KerasHub
converts but for the classifier's head. Fine-tuned in KerasHub a model has learnt the tanh GELU.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import keras_hub
import numpy as np
from keras_hub.src.utils import preset_utils
from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader
from tokenizers import Tokenizer

from semserve_export import bert
from semserve_export.errors import WeightsError
from semserve_export.spec import Activation, Task
from semserve_export.tokenizer import build_tokenizer

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "erf",
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
}
HUGGING_FACE_CLASSIFIER = "BertForSequenceClassification"


@dataclass(frozen=True, slots=True)
class Preset:
    """Where a preset is, and its configuration files."""

    handle: str
    hugging_face: bool
    config: dict[str, Any]
    task_config: dict[str, Any]  # KerasHub's task.json; empty where there is none
    tokenizer_config: dict[str, Any]  # Hugging Face's; empty where there is none

    @classmethod
    def read(cls, handle: str) -> Self:
        """Read the configuration, downloading it where the handle is not a directory.

        Raises:
            WeightsError: there is no preset, or it is not a BERT's.
        """
        config = _json(handle, preset_utils.CONFIG_FILE)
        if not config:
            raise WeightsError(
                f"{handle}: no preset; give a directory with a config.json, or a KerasHub handle"
            )
        kind = config.get("model_type") or config.get("registered_name", "")
        if kind not in {"bert", "keras_hub>BertBackbone"}:
            raise WeightsError(f"{handle}: holds {kind or 'an unknown model'}, not a BERT")
        return cls(
            handle,
            "model_type" in config,
            config,
            _json(handle, preset_utils.TASK_CONFIG_FILE),
            _json(handle, preset_utils.HF_TOKENIZER_CONFIG_FILE),
        )

    @property
    def task(self) -> Task:
        """A classifier where a classifier was saved; an embedder in every other case."""
        saved = [*self.config.get("architectures", ()), self.task_config.get("class_name")]
        classifiers = {HUGGING_FACE_CLASSIFIER, "BertTextClassifier"}
        return "classification" if classifiers.intersection(saved) else "embedding"

    @property
    def activation(self) -> Activation:
        """The GELU that the weights were trained with."""
        if not self.hugging_face:
            return "tanh"
        name = self.config.get("hidden_act", "gelu")
        if name not in ACTIVATIONS:
            raise WeightsError(f"{self.handle}: the activation {name!r} is none of KerasHub's BERT")
        return ACTIVATIONS[name]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of a classifier in the order of its logits; none where none are stored."""
        names = self.config.get("id2label", {})
        return tuple(names[key] for key in sorted(names, key=int))

    @property
    def weights_file(self) -> Path | None:
        """The one file of the backbone's weights, where the preset is a directory with one."""
        name = "model.safetensors" if self.hugging_face else preset_utils.MODEL_WEIGHTS_FILE
        path = Path(self.handle) / name
        return path if path.is_file() else None

    def load_embedder(self, activation: Activation, **changes: Any) -> Any:
        """Load a `BertTextEmbedder`; `changes` go before what the preset says of its pooling."""
        model = keras_hub.models.BertTextEmbedder.from_preset(
            self.handle, preprocessor=None, dtype="float32", **changes
        )
        bert.set_activation(model.backbone, activation)
        return model

    def load_classifier(self, activation: Activation) -> Any:
        """Load a `BertTextClassifier` with its head, giving logits even where softmax was saved."""
        if self.hugging_face:
            backbone = bert.load_backbone(self.handle, activation)
            model = bert.make_classifier(backbone, self.config.get("num_labels", len(self.labels)))
            with SafetensorLoader(self.handle) as loader:
                loader.port_weight(
                    model.output_dense.kernel, "classifier.weight", lambda w, _: np.transpose(w)
                )
                loader.port_weight(model.output_dense.bias, "classifier.bias")
            return model
        model = keras_hub.models.BertTextClassifier.from_preset(
            self.handle, preprocessor=None, dtype="float32"
        )
        model.output_dense.activation = keras.activations.linear
        bert.set_activation(model.backbone, activation)
        return model

    def load_tokenizer(self, *, strip_accents: bool | None = None) -> Tokenizer:
        """Build our tokenizer from the preset's vocabulary and its way with letters.

        An uncased Hugging Face model has had accents stripped unless its file denies it; a model
        trained in KerasHub has had done to it what its tokenizer says.
        """
        theirs = keras_hub.models.BertTokenizer.from_preset(self.handle)
        if strip_accents is None and self.hugging_face:
            strip_accents = self.tokenizer_config.get("strip_accents")
        if strip_accents is None:
            strip_accents = theirs.lowercase if self.hugging_face else theirs.strip_accents
        return build_tokenizer(
            theirs.get_vocabulary(), lowercase=theirs.lowercase, strip_accents=strip_accents
        )

    def max_sequence_length(self, backbone: Any) -> int:
        """Return the longest sequence that was meant, and that the positions allow."""
        preprocessor = keras_hub.models.BertTextEmbedderPreprocessor.from_preset(self.handle)
        return int(min(preprocessor.sequence_length, backbone.max_sequence_length))


def _json(handle: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if preset_utils.check_file_exists(handle, file):
        found = preset_utils.load_json(handle, file)
    return found
