"""Reads a sentence-transformers directory: the modules of modules.json, each from its path.

`config_sentence_transformers.json` specifies the metric and the prompts. Every module, activation,
mode and key is supported, or refused by its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from semserve_export.encoder_weights import Step, UnitLength
from semserve_export.errors import WeightsError
from semserve_export.files.model_files import MODULES, read_list, read_object
from semserve_export.hugging_face.heads.splade import KIND as SPLADE
from semserve_export.hugging_face.heads.splade import SpladePooling, read_splade
from semserve_export.hugging_face.sentence_transformers_layers import DROPOUT, read_steps
from semserve_export.model_spec import Metric

PACKAGE = "sentence_transformers."
SETTINGS = "config_sentence_transformers.json"
POOLINGS: Mapping[str, str] = MappingProxyType(
    {
        "cls": "cls",
        "max": "max",
        "mean": "mean",
        "mean_sqrt_len_tokens": "mean_sqrt_len",
        "weightedmean": "weightedmean",
        "lasttoken": "last",
    }
)
"""Pooling modes of sentence-transformers by our names, in the order of its concatenation."""
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The keys of the modes before release 5.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceModules:
    """The modules of a directory."""

    transformer: Path
    """The directory of the encoder."""
    settings: Mapping[str, Any]
    """Its sentence_bert_config.json: max_seq_length, do_lower_case."""
    pooling: str | None
    """A `spec.Pooling`, or several joined by +; None for a cross-encoder and for a sparse
    encoder."""
    width: int | None = None
    """Size of a token's vector in the configuration of the pooling."""
    steps: tuple[Step, ...] = ()
    normalized: bool = False
    """Whether the last step is L2, which is not in `steps`."""
    metric: Metric = "cosine"
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    """The name of the prompt that sentence-transformers puts before every text by default."""
    prompt_pooled: bool = True
    """Whether the pooling includes the tokens of a prompt."""
    splade: SpladePooling | None = None
    """The pooling of a sparse encoder."""
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    """Its config_sentence_transformers.json."""


def read_modules(directory: Path) -> SentenceModules | None:
    """Read modules.json and the modules that it names; None if it does not exist.

    Raises:
        WeightsError: a module or a setting is unknown; the message names it.
    """
    if not (directory / MODULES).is_file():
        if any(directory.glob("*_Pooling")):
            raise WeightsError(f"{MODULES}: is missing, and there is a directory of a pooling")
        return None
    listed = _in_order(directory)
    modules = [(_kind(module), _path(directory, module)) for module in listed]
    _require_names(listed)
    # Before release 5.4 the Transformer of a sparse encoder had a separate class.
    is_language_model = modules[:1] != [] and modules[0][0] == LANGUAGE_MODEL
    kinds = ["Transformer" if kind == LANGUAGE_MODEL else kind for kind, _ in modules]
    if kinds[:1] != ["Transformer"] or "Transformer" in kinds[1:]:
        raise WeightsError(f"{MODULES}: the first module, and no other, must be a Transformer")
    settings = read_object(directory / SETTINGS)
    model_type = settings.get("model_type", "SentenceTransformer")
    transformer, encoder_settings = modules[0][1], _transformer(modules[0][1])
    prompts, default = _prompts(settings)
    modules_of = partial(
        SentenceModules,
        transformer=transformer,
        settings=encoder_settings,
        prompts=prompts,
        default_prompt=default,
        model_settings=settings,
    )
    if model_type == "CrossEncoder" and len(kinds) == 1:
        return modules_of(pooling=None)
    default_task = "fill-mask" if is_language_model else "feature-extraction"
    task = encoder_settings.get("transformer_task", default_task)
    if task == "fill-mask" and kinds == ["Transformer", SPLADE]:
        return modules_of(pooling=None, splade=read_splade(modules[1][1]))
    if model_type != "SentenceTransformer":
        raise WeightsError(f"{SETTINGS}: model_type {model_type!r} cannot be exported")
    if task != "feature-extraction":
        raise WeightsError(f"sentence_bert_config.json: transformer_task {task!r} is not known")
    if kinds[1:2] != ["Pooling"] or "Pooling" in kinds[2:]:
        raise WeightsError(f"{MODULES}: the second module, and no other, must be a Pooling")
    pooling, width, prompt_pooled = _pooling(modules[1][1])
    steps = [step for kind, path in modules[2:] for step in read_steps(kind, path)]
    normalized = bool(steps) and isinstance(steps[-1], UnitLength)
    return modules_of(
        pooling=pooling,
        width=width,
        steps=tuple(steps[:-1] if normalized else steps),
        normalized=normalized,
        metric=_metric(settings),
        prompt_pooled=prompt_pooled,
    )


def _in_order(directory: Path) -> list[dict[str, Any]]:
    """Read the modules in the order of the list, which is the order in which they run."""
    modules = read_list(directory / MODULES)
    places = [module.get("idx", place) for place, module in enumerate(modules)]
    if not all(isinstance(place, int) for place in places):
        raise WeightsError(f"{MODULES}: idx is no number")
    if places != sorted(places):
        raise WeightsError(f"{MODULES}: idx contradicts the order of the list, in which they run")
    return modules


def _require_names(modules: Sequence[Mapping[str, Any]]) -> None:
    """Refuse two modules with the same name, of which sentence-transformers runs only the last."""
    names = [module.get("name") for module in modules]
    for place, name in enumerate(names):
        if name is not None and name in names[:place]:
            raise WeightsError(f"{MODULES}: two modules have the name {name!r}")


def _kind(module: Mapping[str, Any]) -> str:
    """Return the class of a module; its path differs between old and new releases."""
    name = str(module.get("type", ""))
    kind = name.rpartition(".")[2]
    if not name.startswith(PACKAGE) or kind not in KNOWN:
        known = ", ".join(KNOWN)
        raise WeightsError(f"{MODULES}: the module {name} cannot be exported; there are {known}")
    if module.get("kwargs"):
        raise WeightsError(f"{MODULES}: {kind} takes kwargs {module['kwargs']}, which is not known")
    return kind


def _path(directory: Path, module: Mapping[str, Any]) -> Path:
    path = Path(str(module.get("path", "")))
    if path.is_absolute() or ".." in path.parts:
        raise WeightsError(f"{MODULES}: the path {path} is outside the directory")
    return directory / path


def _transformer(directory: Path) -> dict[str, Any]:
    """Read the settings of the encoder's input; old releases named the file by the family."""
    files = sorted(directory.glob("sentence_*_config.json"))
    settings = read_object(files[0]) if files else {}
    for key, value in settings.items():
        text = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
        logits = {"text": {"method": "forward", "method_output_name": "logits"}}
        allowed: tuple[Any, ...] = {
            "max_seq_length": (value if isinstance(value, int) and value > 0 else None, None),
            "do_lower_case": (True, False, None),
            "transformer_task": ("feature-extraction", "sequence-classification", "fill-mask"),
            "modality_config": (text, logits, None),
            "module_output_name": ("token_embeddings", "scores", None),
            "unpad_inputs": (value,),
        }.get(key, (None, {}, [], False))
        if value not in allowed:
            raise WeightsError(f"{files[0].name}: {key} {value!r} is not known")
    return settings


def _pooling(directory: Path) -> tuple[str, int | None, bool]:
    """Read a Pooling module.

    Returns:
        Its modes, joined by +; the width of a token's vector; and whether the tokens of a prompt
        are pooled.
    """
    config = read_object(directory / "config.json")
    place = f"{directory.name}/config.json"
    if not config:
        raise WeightsError(f"{place}: is missing")
    known = {*FLAGS, "pooling_mode", "include_prompt"}
    widths = ("embedding_dimension", "word_embedding_dimension")
    for key, value in config.items():
        if key not in known and key not in widths and value not in (None, False):
            raise WeightsError(f"{place}: {key} {value!r} is not known")
    stated = config.get("pooling_mode")
    if stated is None:
        stated = [mode for flag, mode in FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [stated] if isinstance(stated, str) else stated
    known_modes = isinstance(modes, list) and all(str(mode) in POOLINGS for mode in modes)
    if not known_modes or not modes:
        raise WeightsError(f"{place}: pooling_mode {stated!r} is not known: {', '.join(POOLINGS)}")
    width = next((config[key] for key in widths if key in config), None)
    prompt_pooled = config.get("include_prompt") is not False
    return "+".join(POOLINGS[mode] for mode in modes), width, prompt_pooled


def _metric(settings: Mapping[str, Any]) -> Metric:
    name = settings.get("similarity_fn_name") or "cosine"
    name = "dot" if name == "dot_product" else name
    if name not in get_args(Metric):
        raise WeightsError(f"{SETTINGS}: similarity_fn_name {name!r} cannot be served")
    return name  # type: ignore[return-value]  # one of the names above


def _prompts(settings: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
    if settings.get("truncate_dim") is not None:
        raise WeightsError(
            f"{SETTINGS}: truncate_dim {settings['truncate_dim']!r} is not applied by the export;"
            " remove it, and ask for `dimensions` in each request"
        )
    stated, default = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if not isinstance(stated, dict) or not all(isinstance(text, str) for text in stated.values()):
        raise WeightsError(f"{SETTINGS}: prompts is no map of names to texts")
    if default is not None and default not in stated:
        raise WeightsError(f"{SETTINGS}: default_prompt_name {default!r} is none of the prompts")
    return dict(stated), default


LANGUAGE_MODEL = "MLMTransformer"
KNOWN = (
    "Transformer",
    "Pooling",
    "Dense",
    "Normalize",
    "LayerNorm",
    DROPOUT,
    LANGUAGE_MODEL,
    SPLADE,
)
