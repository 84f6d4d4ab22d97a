"""A directory that transformers or sentence-transformers wrote, as a model to export.

Its own files are read: config.json, the named tensors, modules.json, the tokenizer. KerasHub's
converters, which leave some of that out without a word, have no part in it; a KerasHub model filled
with the same numbers is what the graphs are compared with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.asked import OwnModel
from semserve_export.digest import sha256_of
from semserve_export.encoder_weights import Classifier, Pool, UnitLength
from semserve_export.errors import WeightsError
from semserve_export.families import Family, family_of, inputs_of
from semserve_export.hugging_face_config import Architecture, read_architecture
from semserve_export.hugging_face_files import CONFIG, MODULES, Tensors, read_object, weights_file
from semserve_export.hugging_face_labels import read_labels, read_scores
from semserve_export.hugging_face_weights import EncoderReader
from semserve_export.keras_encoder import fill_dense, make_backbone, make_keras_model
from semserve_export.model import LoadedModel
from semserve_export.hugging_face_reading import read_directory_tokenizer
from semserve_export.sentence_transformers_modules import SentenceModules, read_modules
from semserve_export.spec import ModelSpec, Task

CLASSIFIER = "ForSequenceClassification"
LANGUAGE_MODELS = ("ForMaskedLM", "ForPreTraining", "LMHeadModel")
ENCODER = "Model"
"""The ends of the names of transformers' classes."""
KINDS: dict[Task, str] = {"embedding": "embeddings", "classification": "classification"}


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
            WeightsError: something of it cannot be honoured; the message names the file and key.
        """
        modules = read_modules(path)
        encoder_path = modules.transformer if modules else path
        config = read_object(encoder_path / CONFIG)
        if not config.get("model_type"):
            raise WeightsError(f"{CONFIG}: is missing, or has no model_type")
        family = family_of(str(config["model_type"]))
        architecture = read_architecture(config)
        return cls(path, encoder_path, config, architecture, family, modules)

    @property
    def task(self) -> Task:
        """What the model was saved for.

        Raises:
            WeightsError: for something that cannot be exported, or for nothing that is named.
        """
        if self.modules:
            return "classification" if self.modules.pooling is None else "embedding"
        classes = self.config.get("architectures") or []
        if not isinstance(classes, list) or len(classes) != 1:
            raise WeightsError(
                f"{CONFIG}: architectures names {classes or 'nothing'}; say --task embedding or"
                " --task classification"
            )
        name = str(classes[0])
        if name.endswith(CLASSIFIER):
            return "classification"
        if name.endswith(LANGUAGE_MODELS):
            raise WeightsError(
                f"{CONFIG}: {name} is a language model; say --task embedding to export its encoder"
                " without the head that guesses words"
            )
        if not name.endswith(ENCODER):
            raise WeightsError(
                f"{CONFIG}: the architecture {name} cannot be exported; there are encoders"
                f" (…{ENCODER}) and sequence classifiers (…{CLASSIFIER})"
            )
        return "embedding"

    def require_task(self, task: Task) -> None:
        """Refuse a task that the user asks for and the model has no head for.

        Raises:
            WeightsError: it is no classifier.
        """
        if task == "classification" and self.modules and self.modules.pooling is not None:
            raise WeightsError(f"{MODULES}: is an embedder's, so --task classification is not for it")

    def reader(self) -> EncoderReader:
        """Open the weights.

        Raises:
            WeightsError: they are missing or damaged.
        """
        return EncoderReader(Tensors(self.encoder_path), self.architecture)

    @property
    def weights_file(self) -> Path | None:
        """The one file of the encoder's weights; None where they are in several."""
        return weights_file(self.encoder_path)

    def make_classifier(
        self, classes: int, dropout: float = 0, precision: str = "float32"
    ) -> Any:
        """Put a fresh head on the encoder, for a training."""
        reader = self.reader()
        # BERT and ALBERT have the pooler in the backbone; a training goes on from it.
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
        """Return the directory's own tokenizer, and its limit of tokens where it has one."""
        lowercase = bool(self.modules and self.modules.settings.get("do_lower_case"))
        return read_directory_tokenizer(
            self.encoder_path,
            self.architecture,
            strip_accents=strip_accents,
            split_on_cjk=split_on_cjk,
            lowercase=lowercase,
        )

    def max_sequence_length(self, asked: int | None, tokenizer_limit: int | None) -> int:
        """Return the most tokens of a text: what is asked for, what is said, or what fits.

        Raises:
            WeightsError: more is asked for than the model has positions.
        """
        fitting = self.architecture.max_sequence_length
        if asked is not None:
            if asked > fitting:
                raise WeightsError(f"--max-sequence-length {asked}: the model has {fitting} positions")
            return asked
        said = self.modules.settings.get("max_seq_length") if self.modules else None
        return min(int(said or tokenizer_limit or fitting), fitting)


def find_directory(path: str) -> Path | None:
    """Return the directory of such a model; None where the path is something else's."""
    directory = Path(path)
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


def load_directory(asked: OwnModel, path: Path, licence: str) -> LoadedModel:
    """Load the model, and say what it is.

    Raises:
        WeightsError: something of it cannot be honoured; the message names the file and key.
    """
    directory = HuggingFaceDirectory.read(path)
    task = asked.task or directory.task
    directory.require_task(task)
    reader = directory.reader()
    source = directory
    if asked.tokenizer:
        other = Path(asked.tokenizer)
        source = HuggingFaceDirectory(
            other, other, directory.config, directory.architecture, directory.family, None
        )
    tokenizer, limit = source.tokenizer(
        strip_accents=asked.strip_accents, split_on_cjk=asked.split_on_cjk
    )
    length = directory.max_sequence_length(asked.max_sequence_length, limit)
    head, facts = _head(asked, directory, reader, task)
    encoder = reader.encoder(head)
    dropped = task == "embedding" and bool(directory.modules or asked.task)
    reader.require_used(classifier_dropped=dropped)
    model = make_keras_model(encoder, directory.architecture, directory.family)
    spec = ModelSpec(
        name=asked.served_name,
        description=asked.description or f"{KINDS[task]} by {path.name}",
        task=task,
        activation=encoder.activation,
        max_sequence_length=length,
        inputs=inputs_of(model),
        **facts,
    )
    weights = directory.weights_file
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=tokenizer,
        source=path.name,
        sha256=sha256_of(weights) if weights else None,
        licence=licence,
        notice=f"{spec.name}: exported by semserve-export from {path.name}.\n",
        encoder=encoder,
        notes=tuple(_notes(asked, directory, task)),
    )


def _head(
    asked: OwnModel, directory: HuggingFaceDirectory, reader: EncoderReader, task: Task
) -> tuple[Pool | Classifier, dict[str, Any]]:
    """Read the head, and what the manifest says of it."""
    if asked.activation and asked.activation != directory.architecture.activation:
        raise WeightsError(f"--activation {asked.activation}: {CONFIG} says another")
    if task == "classification":
        head = reader.classifier()
        outputs = len(head.logits.bias)
        labels = asked.labels or read_labels(directory.config, outputs)
        if len(labels) != outputs:
            raise WeightsError(
                f"{outputs} classes need as many labels, in the order of the logits; give --label"
                f" {outputs} times"
            )
        scores = read_scores(directory.config)
        return head, {"labels": labels, "scores": scores, "pair": asked.pair}
    modules = directory.modules
    _refuse_default_prompt(asked, modules)
    pooling = asked.pooling or (modules.pooling if modules else None) or "mean"
    normalized = asked.normalize
    if normalized is None:
        normalized = modules.normalized if modules else True
    steps = modules.steps if modules else ()
    pool = Pool(pooling, normalized, reader.pooler() if pooling == "pooled" else None, steps)
    _require_width(pool, directory)
    metric = modules.metric if modules else "cosine"
    return pool, {"pooling": pooling, "normalized": normalized, "metric": metric}


def _require_width(pool: Pool, directory: HuggingFaceDirectory) -> None:
    """Check that each step takes vectors as long as the step before gives."""
    hidden, said = directory.architecture.hidden, directory.modules and directory.modules.width
    if said is not None and said != hidden:
        raise WeightsError(f"{MODULES}: the pooling is of {said} dimensions, a token has {hidden}")
    width = len(pool.modes) * hidden
    for step in pool.steps:
        takes, gives = (width, width) if isinstance(step, UnitLength) else step.widths
        if takes != width:
            raise WeightsError(f"{MODULES}: a layer takes {takes} dimensions, and gets {width}")
        width = gives


def _refuse_default_prompt(asked: OwnModel, modules: SentenceModules | None) -> None:
    if modules and modules.default_prompt and not asked.ignore_prompts:
        raise WeightsError(
            f"config_sentence_transformers.json: default_prompt_name puts"
            f" {modules.default_prompt!r} before every text, and the server puts nothing there;"
            " --ignore-prompts exports the model without it"
        )


def _notes(asked: OwnModel, directory: HuggingFaceDirectory, task: Task) -> list[str]:
    """Say what of the directory is left out, or left to those who call."""
    notes = []
    classes = directory.config.get("architectures") or []
    if task == "embedding" and any(not str(name).endswith(ENCODER) for name in classes):
        notes.append(f"the head of {', '.join(map(str, classes))} is left out")
    if directory.modules and directory.modules.prompts:
        names = ", ".join(directory.modules.prompts)
        notes.append(f"prompts ({names}) are not applied: put them before the texts yourself")
    return notes

