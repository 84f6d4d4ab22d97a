"""A preset as it lies on disk or behind a KerasHub handle, and what it says about itself.

There are two kinds: KerasHub's own (`save_to_preset`), and Hugging Face directories, which KerasHub
converts but for the classifier's head. Fine-tuned in KerasHub a model has learnt the GELU that its
family has there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras_hub
import numpy as np
from keras_hub.src.utils import preset_utils
from keras_hub.src.utils.transformers import convert_bert
from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader

from semserve_export import bert
from semserve_export.activation import set_activation
from semserve_export.errors import WeightsError
from semserve_export.families import Family, family_of
from semserve_export.spec import Activation, Pooling, Task
from semserve_export.token_pooling import PooledTokens

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "erf",
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
}


@dataclass(frozen=True, slots=True)
class Preset:
    """Where a preset is, and its configuration files."""

    handle: str
    family: Family
    hugging_face: bool
    config: dict[str, Any]
    task_config: dict[str, Any]  # KerasHub's task.json; empty where there is none
    tokenizer_config: dict[str, Any]  # Hugging Face's; empty where there is none

    @classmethod
    def read(cls, handle: str) -> Self:
        """Read the configuration, downloading it where the handle is not a directory.

        Raises:
            WeightsError: there is no preset, or it is of no family that can be exported.
        """
        config = _json(handle, preset_utils.CONFIG_FILE)
        if not config:
            raise WeightsError(
                "no preset; give a directory with a config.json, a .keras file or a KerasHub handle"
            )
        return cls(
            handle,
            family_of(config.get("model_type") or config.get("registered_name", "")),
            "model_type" in config,
            config,
            _json(handle, preset_utils.TASK_CONFIG_FILE),
            _json(handle, preset_utils.HF_TOKENIZER_CONFIG_FILE),
        )

    @property
    def task(self) -> Task:
        """A classifier where a classifier was saved; an embedder in every other case."""
        saved = [
            *(self.config.get("architectures") or ()),
            self.task_config.get("class_name") or "",
        ]
        classifies = any("SequenceClassification" in each or "TextClass" in each for each in saved)
        return "classification" if classifies else "embedding"

    @property
    def activation(self) -> Activation:
        """The GELU that the weights were trained with."""
        if not self.hugging_face:
            return self.family.gelu
        name = self.config.get("hidden_act") or self.config.get("activation", "gelu")
        if name not in ACTIVATIONS:
            raise WeightsError(f"the activation {name!r} is none of KerasHub's {self.family.name}")
        return ACTIVATIONS[name]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of a classifier in the order of its logits; none where none are stored."""
        names = self.config.get("id2label", {})
        return tuple(names[key] for key in sorted(names, key=int))

    @property
    def pooling(self) -> tuple[Pooling, bool]:
        """How an embedder pools, and whether its vectors have length 1; mean and yes if unsaid."""
        said: dict[str, Any] = self.task_config.get("config", {})
        if self.hugging_face:
            said = convert_bert.load_task_config(self.handle, self.config)
        return said.get("pooling_mode", "mean"), said.get("normalize", True)

    @property
    def weights_file(self) -> Path | None:
        """The one file of the backbone's weights, where the preset is a directory with one."""
        name = "model.safetensors" if self.hugging_face else preset_utils.MODEL_WEIGHTS_FILE
        path = Path(self.handle) / name
        return path if path.is_file() else None

    def load_embedder(self, activation: Activation, pooling: Pooling, *, normalize: bool) -> Any:
        """Load the backbone and put the pooling on it."""
        backbone = self.family.backbone.from_preset(self.handle, dtype="float32")
        set_activation(backbone, activation)
        if type(backbone) is keras_hub.models.BertBackbone:
            return bert.make_embedder(backbone, pooling, normalize=normalize)
        return PooledTokens(backbone, pooling, normalize=normalize)

    def load_classifier(self, activation: Activation) -> Any:
        """Load the classifier with its head and the head's activation, as they were saved."""
        facts: dict[str, Any] = {"preprocessor": None, "dtype": "float32"}
        if self.hugging_face:
            facts["num_classes"] = self.config.get("num_labels", len(self.labels))
        model = self.family.classifier.from_preset(self.handle, **facts)
        if self.hugging_face:
            self._load_head(model)
        set_activation(model.backbone, activation)
        return model

    def make_classifier(self, classes: int, dropout: float = 0, precision: str = "float32") -> Any:
        """Put a fresh head on the backbone, for a training; the dropout inside is the preset's."""
        backbone = self.family.backbone.from_preset(self.handle, dtype=precision)
        set_activation(backbone, self.activation)
        return self.family.classifier(
            backbone, num_classes=classes, preprocessor=None, dropout=dropout
        )

    def _load_head(self, model: Any) -> None:
        with SafetensorLoader(self.handle) as loader:
            for layer, name in self.family.head.items():
                dense = getattr(model, layer)
                loader.port_weight(dense.kernel, f"{name}.weight", lambda w, _: np.transpose(w))
                loader.port_weight(dense.bias, f"{name}.bias")

    def load_tokenizer(self) -> Any:
        """Load KerasHub's tokenizer with its vocabulary.

        Raises:
            WeightsError: the preset has none.
        """
        theirs = self.family.classifier.preprocessor_cls.tokenizer_cls
        try:
            return theirs.from_preset(self.handle)
        except FileNotFoundError as error:
            raise WeightsError(
                "has no tokenizer, as if saved without its preprocessor; name a preset that has"
                " it with --tokenizer"
            ) from error

    @property
    def preprocessor_config(self) -> dict[str, Any]:
        """What KerasHub's preprocessor was saved with; empty where there is none."""
        config: dict[str, Any] = _json(self.handle, preset_utils.PREPROCESSOR_CONFIG_FILE)
        return dict(config.get("config", {}))

    def max_sequence_length(self, backbone: Any) -> int:
        """Return the longest sequence that was meant, and that the positions allow."""
        saved = self.preprocessor_config
        trained = _json(self.handle, "sentence_bert_config.json")
        meant = saved.get("sequence_length") or trained.get("max_seq_length")
        return int(min(meant or backbone.max_sequence_length, backbone.max_sequence_length))


def _json(handle: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if preset_utils.check_file_exists(handle, file):
        found = preset_utils.load_json(handle, file)
    return found
