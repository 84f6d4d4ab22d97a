"""The allow-list of saved Keras objects, for the JSON that Keras deserialises.

Keras builds any class that a config names, with any settings of the config. Therefore the config is
rewritten before Keras reads it, with only the classes below, by their current names, and settings
that are plain values within bounds. All other objects are refused by name.
"""

import math
import re
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.untrusted.saved_limits import check_number, check_size

FAMILIES = ("Bert", "Roberta", "DistilBert", "Albert", "DebertaV3", "XLMRoberta")
PARTS = {  # the names of a part in KerasNLP and KerasHub, and its current name
    "Backbone": "Backbone",
    "Tokenizer": "Tokenizer",
    "TextClassifier": "TextClassifier",
    "Classifier": "TextClassifier",
    "TextClassifierPreprocessor": "TextClassifierPreprocessor",
    "Preprocessor": "TextClassifierPreprocessor",
    "TextEmbedder": "TextEmbedder",
    "TextEmbedderPreprocessor": "TextEmbedderPreprocessor",
    "MaskedLM": "MaskedLM",
    "MaskedLMPreprocessor": "MaskedLMPreprocessor",
}
KERAS_HUB = {
    f"{family}{saved}": f"{family}{now}" for family in FAMILIES for saved, now in PARTS.items()
}
PACKAGES = ("keras_hub", "keras_nlp")  # KerasNLP is KerasHub's older name
POLICIES = {"DTypePolicy": "DTypePolicy", "FloatDTypePolicy": "DTypePolicy"}
POLICY_MAP = "DTypePolicyMap"
DTYPES = frozenset(
    {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
    | {"int8", "int32", "int64", "bool", "string"}
)

RUNS_CODE = "which runs Python code that the file brings along"
READS_FILES = "a layer that can read any file by its path"
FOREIGN = "a wrapper of another library's model"
REASONS = {
    "Lambda": f"a Lambda layer, {RUNS_CODE}",
    "__lambda__": f"a lambda function, {RUNS_CODE}",
    "function": "a function by its name",
    "TFSMLayer": "a TFSMLayer, which runs a TensorFlow SavedModel from a path",
    "StringLookup": f"a StringLookup, {READS_FILES}",
    "IntegerLookup": f"an IntegerLookup, {READS_FILES}",
    "TextVectorization": f"a TextVectorization, {READS_FILES}",
    "Hashing": "a Hashing layer, whose preprocessing cannot be exported",
    "TorchModuleWrapper": f"a TorchModuleWrapper, {FOREIGN}, which is kept as a pickle",
    "FlaxLayer": f"a FlaxLayer, {FOREIGN}",
    "JaxLayer": f"a JaxLayer, {FOREIGN}",
}
QUANTIZED = (
    "quantised weights; export the model as it was before quantize(), and --variants int8"
    " quantises it"
)
FNET = (
    "an FNet, which cannot be exported: it takes no padding mask, so a text's answer would depend"
    " on others"
)
NOT_LOADED = frozenset({"compile_config", "build_config"})  # only used in training
NAMES_FILES = frozenset(
    {"vocabulary", "merges", "proto", "file", "filename", "filepath", "file_path", "path", "url"}
    | {"backend_config", "weights", "preset"}
)
TOKEN_TEXTS = frozenset({"oov_token", "suffix_indicator", "special_tokens", "unsplittable_tokens"})
PLAIN_TEXT = re.compile(r"[\w .+-]{0,200}")
CONFIG_FILE = re.compile(r"\w{1,60}\.json")
LONGEST_TOKEN = 1000  # characters


def checked_model(saved: dict[str, Any]) -> dict[str, Any]:
    """Rewrite a saved model, tokenizer or preprocessor with only allowed objects.

    Args:
        saved: the object's JSON; it is not changed.

    Returns:
        The object in the current format of KerasHub, without data of its training.

    Raises:
        WeightsError: it contains a class that is not allowed, a function, a path or a size that is
            too large; the message names it.
    """
    _refuse_by_name(saved)
    if _kind(saved) not in KERAS_HUB:
        raise WeightsError(
            f"holds a {_shown(saved)}, which cannot be exported: it must be a text classifier,"
            f" text embedder or backbone of KerasHub; the families are {', '.join(FAMILIES)}"
        )
    return _checked_object(saved)


def is_keras_hubs_object(saved: dict[str, Any]) -> bool:
    """Return whether a saved object is an allowed object of KerasHub."""
    return _kind(saved) in KERAS_HUB


def _refuse_by_name(saved: dict[str, Any]) -> None:
    """Refuse harmful objects, anywhere in the JSON that Keras would read."""
    pending: list[Any] = [saved]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        if not isinstance(value, dict):
            continue
        pending += [inner for key, inner in value.items() if key not in NOT_LOADED]
        name = value.get("class_name")
        if name is None:
            continue
        if not isinstance(name, str):
            raise WeightsError("holds a class whose name is no text")
        if name in REASONS:
            raise WeightsError(f"holds {REASONS[name]}; no such thing can be exported")
        if "Quantized" in name or name in {"GPTQDTypePolicy", "AWQDTypePolicy", "Int4DTypePolicy"}:
            raise WeightsError(f"holds {QUANTIZED}")
        if _kind(value) == "FNetBackbone":
            raise WeightsError(f"holds {FNET}")


def _kind(saved: dict[str, Any]) -> str:
    """Return the name of a class of KerasHub; empty for other classes."""
    package, _, name = str(saved.get("registered_name")).rpartition(">")
    module = saved.get("module")
    # Keras uses the registered name; the module must not contradict it.
    foreign = module is not None and str(module).split(".")[0] not in PACKAGES
    return "" if foreign or package not in PACKAGES else name


def _shown(saved: dict[str, Any]) -> str:
    return str(saved.get("class_name"))[:80]


def _checked_object(saved: dict[str, Any]) -> dict[str, Any]:
    name, module, kind = saved["class_name"], saved.get("module"), _kind(saved)
    policy = name in {*POLICIES, POLICY_MAP} and str(module).split(".")[0] == "keras"
    if kind not in KERAS_HUB and not policy:
        origin = saved.get("registered_name") or module or "no module"
        raise WeightsError(
            f"holds a {_shown(saved)} ({str(origin)[:120]}), which is not on the list of classes"
            " that can be exported; save the model with KerasHub's own classes"
        )
    settings = saved.get("config")
    if not isinstance(settings, dict):
        raise WeightsError(f"holds a {_shown(saved)} without settings")
    if policy:
        return _checked_policy(name, settings)
    now = KERAS_HUB[kind]
    checked = {key: _checked(key, value) for key, value in settings.items()}
    check_size(now, checked)
    return {
        "module": "keras_hub",
        "class_name": now,
        "config": checked,
        "registered_name": f"keras_hub>{now}",
    }


def _checked_policy(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    if name == POLICY_MAP:
        policies = settings.get("policy_map", {})
        if not isinstance(policies, dict):
            raise WeightsError("holds a DTypePolicyMap whose policy_map is no map")
        checked: dict[str, Any] = {
            "default_policy": _checked("dtype", settings.get("default_policy")),
            "policy_map": {key: _checked("dtype", value) for key, value in policies.items()},
        }
        module = "keras.dtype_policies"
    else:
        checked = {"name": _checked("dtype", settings.get("name"))}
        name, module = POLICIES[name], "keras"
    return {"module": module, "class_name": name, "config": checked, "registered_name": None}


def _checked(key: str, value: Any) -> Any:
    """Return a setting if it is a plain value within bounds, or an allowed object."""
    if isinstance(value, dict):
        return _map(key, value)
    if isinstance(value, list):
        check = _token if key in NAMES_FILES | TOKEN_TEXTS else _checked
        return [check(key, each) for each in value]
    if isinstance(value, str):
        return _text(key, value)
    return value if value is None or isinstance(value, bool) else _number(key, value)


def _map(key: str, value: dict[str, Any]) -> dict[str, Any]:
    if "class_name" in value:
        return _checked_object(value)
    if key == "vocabulary":
        return {_token(key, token): _number(key, place) for token, place in value.items()}
    raise WeightsError(f"the setting {key[:80]!r} is a map, which no model of KerasHub has")


def _text(key: str, text: str) -> str:
    if key in NAMES_FILES:
        raise WeightsError(
            f"the setting {key!r} names the file {text[:80]!r}; a saved model has its vocabulary"
            " in its assets"
        )
    if key == "dtype" and text not in DTYPES:
        if text.startswith(("int4", "int8_", "float8")):
            raise WeightsError(f"holds {QUANTIZED}")
        raise WeightsError(f"the dtype {text[:80]!r} is none of Keras's")
    if key in TOKEN_TEXTS:
        return _token(key, text)
    pattern = CONFIG_FILE if key == "config_file" else PLAIN_TEXT
    if not pattern.fullmatch(text):
        raise WeightsError(f"the setting {key[:80]!r} is {text[:80]!r}, which may name a file")
    return text


def _token(key: str, token: Any) -> str:
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
        raise WeightsError(f"the setting {key[:80]!r} holds what is no token")
    return token


def _number(key: str, value: Any) -> Any:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise WeightsError(f"the setting {key[:80]!r} is no finite number")
    check_number(key, value)
    return value
