"""A KerasHub preset, from a directory or a handle, and its settings.

A model that was fine-tuned in KerasHub uses the GELU of its family there.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import keras_hub
from keras_hub.src.utils import preset_utils

from semserve_export.errors import WeightsError
from semserve_export.model_spec import Activation, PairTruncation, Pooling, Task
from semserve_export.models import bert
from semserve_export.models.activation import set_activation
from semserve_export.models.families import Family, family_of
from semserve_export.models.pooling import PooledTokens


@dataclass(frozen=True, slots=True)
class Preset:
    """The location of a preset, and its configuration files."""

    handle: str
    family: Family
    config: dict[str, Any]
    task_config: dict[str, Any]  # KerasHub's task.json; empty if it does not exist

    @classmethod
    def read(cls, handle: str) -> Self:
        """Read the configuration; it is downloaded if the handle is not a directory.

        Raises:
            WeightsError: there is no preset, or its family is not supported.
        """
        config = _json(handle, preset_utils.CONFIG_FILE)
        if not config:
            raise WeightsError(
                "no preset; give a directory with a config.json, a .keras file or a KerasHub handle"
            )
        if "model_type" in config:
            raise WeightsError("holds a model of transformers; download it, and name its directory")
        return cls(
            handle,
            family_of(config.get("registered_name", "")),
            config,
            _json(handle, preset_utils.TASK_CONFIG_FILE),
        )

    @property
    def task(self) -> Task:
        """The task: a classifier if a classifier was saved, otherwise an embedder."""
        classifies = "TextClass" in (self.task_config.get("class_name") or "")
        return "classification" if classifies else "embedding"

    @property
    def activation(self) -> Activation:
        """The GELU that the weights were trained with."""
        return self.family.gelu

    @property
    def pooling(self) -> tuple[Pooling, bool]:
        """The pooling of an embedder, and whether vectors have length 1; default: mean, true."""
        config: dict[str, Any] = self.task_config.get("config", {})
        return config.get("pooling_mode", "mean"), config.get("normalize", True)

    def load_embedder(self, activation: Activation, pooling: Pooling, *, normalize: bool) -> Any:
        """Load the backbone and add the pooling."""
        backbone = self.family.backbone.from_preset(self.handle, dtype="float32")
        set_activation(backbone, activation)
        if type(backbone) is keras_hub.models.BertBackbone:
            return bert.make_embedder(backbone, pooling, normalize=normalize)
        return PooledTokens(backbone, pooling, normalize=normalize)

    def load_classifier(self, activation: Activation) -> Any:
        """Load the classifier with its head and the head's activation, as they were saved."""
        with warnings.catch_warnings():
            # A trained model has the state of its optimizer beside its head.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            model = self.family.classifier.from_preset(
                self.handle, preprocessor=None, dtype="float32"
            )
        set_activation(model.backbone, activation)
        return model

    def make_classifier(self, classes: int, dropout: float = 0, precision: str = "float32") -> Any:
        """Add a new head to the backbone, for a training; its dropout is the preset's."""
        backbone = self.family.backbone.from_preset(self.handle, dtype=precision)
        set_activation(backbone, self.activation)
        return self.family.classifier(
            backbone, num_classes=classes, preprocessor=None, dropout=dropout
        )

    def load_tokenizer(self) -> Any:
        """Load KerasHub's tokenizer with its vocabulary.

        Raises:
            WeightsError: the preset has none.
        """
        tokenizer_class = self.family.classifier.preprocessor_cls.tokenizer_cls
        try:
            return tokenizer_class.from_preset(self.handle)
        except FileNotFoundError as error:
            raise WeightsError(
                "has no tokenizer, as if saved without its preprocessor; name a preset that has"
                " it with --tokenizer"
            ) from error

    @property
    def preprocessor_config(self) -> dict[str, Any]:
        """The settings of KerasHub's saved preprocessor; empty if there is none."""
        config: dict[str, Any] = _json(self.handle, preset_utils.PREPROCESSOR_CONFIG_FILE)
        return dict(config.get("config", {}))

    @property
    def pair_truncation(self) -> PairTruncation:
        """Which text of a pair its preprocessor cuts; KerasHub's default where none was saved."""
        saved: PairTruncation = self.preprocessor_config.get("truncate", "round_robin")
        return saved

    def max_sequence_length(self, backbone: Any) -> int:
        """Return the configured maximum length, limited by the number of positions."""
        saved = self.preprocessor_config
        meant = saved.get("sequence_length")
        return int(min(meant or backbone.max_sequence_length, backbone.max_sequence_length))


def _json(handle: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if preset_utils.check_file_exists(handle, file):
        found = preset_utils.load_json(handle, file)
    return found
