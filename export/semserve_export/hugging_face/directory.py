"""The files of a transformers or sentence-transformers directory, without its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.bundle.option_rules import KINDS
from semserve_export.encoder_weights import Pool
from semserve_export.errors import WeightsError
from semserve_export.files.model_files import CONFIG, MODULES, Tensors, read_object, weight_files
from semserve_export.hugging_face.config import Architecture, read_architecture
from semserve_export.hugging_face.keras_encoder import fill_dense, make_backbone
from semserve_export.hugging_face.labels import is_cross_encoder
from semserve_export.hugging_face.reading import read_directory_tokenizer
from semserve_export.hugging_face.sentence_transformers_modules import (
    SETTINGS,
    SentenceModules,
    read_modules,
)
from semserve_export.hugging_face.weights import EncoderReader
from semserve_export.model_spec import Activation, Task
from semserve_export.models.families import Family, family_of

CLASSIFIER = "ForSequenceClassification"
LANGUAGE_MODELS = ("ForMaskedLM", "ForPreTraining", "LMHeadModel")
ENCODER = "Model"
"""Suffixes of the names of transformers' classes."""
HUB = "hf://"
DOWNLOADED = ("*.json", "*.txt", "*.model", "*.safetensors", "*.weights.h5", "*.spm")
"""The files of a handle to download, without code and pickles."""


@dataclass(frozen=True, slots=True)
class HuggingFaceDirectory:
    """The encoder's directory, its configuration, and the modules around it."""

    path: Path
    encoder_path: Path
    config: Mapping[str, Any]
    architecture: Architecture
    family: Family
    modules: SentenceModules | None

    @classmethod
    def read(cls, path: Path) -> "HuggingFaceDirectory":
        """Read every configuration file, and no weights.

        Raises:
            WeightsError: a setting is not supported; the message names the file and the key.
        """
        modules = read_modules(path)
        encoder_path = modules.transformer if modules else path
        config = read_object(encoder_path / CONFIG)
        if not config.get("model_type"):
            raise WeightsError(f"{CONFIG}: is missing, or has no model_type")
        family = family_of(str(config["model_type"]))
        architecture = read_architecture(config)
        return cls(path, encoder_path, config, architecture, family, modules)

    def with_activation(self, activation: Activation) -> "HuggingFaceDirectory":
        """Return the same directory with another activation than that of config.json."""
        return replace(self, architecture=replace(self.architecture, activation=activation))

    @property
    def task(self) -> Task:
        """The task that the model was saved for.

        Raises:
            WeightsError: the task is unsupported or not specified.
        """
        if self.modules and self.modules.splade:
            return "sparse_embedding"
        if self.modules:
            return "classification" if self.modules.pooling is None else "embedding"
        classes = self.config.get("architectures") or []
        if not isinstance(classes, list) or len(classes) != 1:
            raise WeightsError(
                f"{CONFIG}: architectures names {classes or 'nothing'}; pass --task embedding or"
                " --task classification"
            )
        name = str(classes[0])
        if name.endswith(CLASSIFIER):
            return "classification"
        if name.endswith(LANGUAGE_MODELS):
            raise WeightsError(
                f"{CONFIG}: {name} is a language model; pass --task sparse_embedding for weights of"
                " words (SPLADE), or --task embedding to export its encoder without the head that"
                " guesses words"
            )
        if not name.endswith(ENCODER):
            raise WeightsError(
                f"{CONFIG}: the architecture {name} cannot be exported; there are encoders"
                f" (…{ENCODER}) and sequence classifiers (…{CLASSIFIER})"
            )
        return "embedding"

    def require_task(self, task: Task) -> None:
        """Refuse a requested task for which the model has no head.

        Raises:
            WeightsError: the modules are for another task.
        """
        kinds: dict[Task, Task] = {"score": "classification"}
        if self.modules and kinds.get(task, task) != self.task:
            raise WeightsError(
                f"{MODULES}: is {KINDS[self.task]}'s, so --task {task} is not for it"
            )

    def reader(self) -> EncoderReader:
        """Open the weights.

        Raises:
            WeightsError: they are missing or damaged.
        """
        return EncoderReader(Tensors(self.encoder_path), self.architecture)

    @property
    def is_cross_encoder(self) -> bool:
        """Whether sentence-transformers saved it as a cross-encoder."""
        stated = self.settings.get("model_type") == "CrossEncoder"
        return stated or is_cross_encoder(self.config)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The content of config_sentence_transformers.json, also without a modules.json."""
        return self.modules.model_settings if self.modules else read_object(self.path / SETTINGS)

    @property
    def weight_files(self) -> list[Path]:
        """The files of the encoder's weights, in the order of their names."""
        return weight_files(self.encoder_path)

    def make_classifier(self, classes: int, dropout: float = 0, precision: str = "float32") -> Any:
        """Add a new head to the encoder, for a training."""
        reader = self.reader()
        # BERT and ALBERT have the pooler in the backbone; a training starts from it.
        encoder = reader.encoder(Pool("mean", normalized=False))
        backbone = make_backbone(
            encoder, self.architecture, self.family, dropout=dropout, precision=precision
        )
        if hasattr(backbone, "pooled_dense"):
            fill_dense(backbone.pooled_dense, reader.pooler_or_identity())
        reader.require_used(classifier_dropped=True)
        return self.family.classifier(
            backbone, num_classes=classes, preprocessor=None, dropout=dropout
        )

    def tokenizer(
        self, *, strip_accents: bool | None = None, split_on_cjk: bool | None = None
    ) -> tuple[Tokenizer, int | None]:
        """Return the tokenizer of the directory, and its limit of tokens if it has one."""
        lowercase = bool(self.modules and self.modules.settings.get("do_lower_case"))
        return read_directory_tokenizer(
            self.encoder_path,
            self.architecture,
            strip_accents=strip_accents,
            split_on_cjk=split_on_cjk,
            lowercase=lowercase,
        )

    def max_sequence_length(self, requested: int | None, tokenizer_limit: int | None) -> int:
        """Return the maximum number of tokens: requested, configured, or by the positions.

        Raises:
            WeightsError: the requested length exceeds the positions of the model.
        """
        fitting = self.architecture.max_sequence_length
        if requested is not None:
            if requested > fitting:
                raise WeightsError(
                    f"--max-sequence-length {requested}: the model has {fitting} positions"
                )
            return requested
        stated = self.modules.settings.get("max_seq_length") if self.modules else None
        return min(int(stated or tokenizer_limit or fitting), fitting)


def find_directory(path: str) -> Path | None:
    """Return the directory of such a model; None if the path is something else.

    The model of a handle hf://OWNER/NAME is first downloaded to the cache of huggingface_hub.

    Raises:
        WeightsError: the directory contains only an adapter, or cannot be downloaded.
    """
    directory = _download(path) if path.startswith(HUB) else Path(path)
    if not directory.is_dir():
        return None
    if (directory / MODULES).is_file():
        return directory
    if "model_type" in read_object(directory / CONFIG):
        return directory
    adapter = directory / "adapter_config.json"
    if adapter.is_file():
        raise WeightsError(
            f"{adapter.name}: the directory holds an adapter (PEFT) alone; merge it into its model"
            " (merge_and_unload) and save that"
        )
    return None


def _download(handle: str) -> Path:
    import huggingface_hub  # noqa: PLC0415 - for handles alone

    try:
        found = huggingface_hub.snapshot_download(
            handle.removeprefix(HUB), allow_patterns=list(DOWNLOADED)
        )
    except (OSError, ValueError) as error:  # huggingface_hub raises many classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"cannot be downloaded: {reason}") from error
    return Path(found)
