"""Configs of `.keras` files that make Keras run code, read files or take all memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras.src.utils.python_utils import func_dump

Config = dict[str, Any]
OUTSIDE = "/etc/hostname"


def in_backbone(**settings: Any) -> Callable[[Config], Config]:
    return lambda config: _into(config, "backbone", settings)


def in_tokenizer(**settings: Any) -> Callable[[Config], Config]:
    def change(config: Config) -> Config:
        tokenizer = config["config"]["preprocessor"]["config"]["tokenizer"]["config"]
        tokenizer.update(settings)
        return config

    return change


def _into(config: Config, part: str, settings: Config) -> Config:
    config["config"][part]["config"].update(settings)
    return config


def in_place_of_the_backbone(**saved: Any) -> Callable[[Config], Config]:
    return lambda config: {**config, "config": {**config["config"], "backbone": saved}}


def layer(name: str, module: str = "keras.layers", **settings: Any) -> Callable[[Config], Config]:
    return in_place_of_the_backbone(
        module=module, class_name=name, config=settings, registered_name=None
    )


def lambda_model(marker: Path) -> Config:
    """Save a model with a Lambda, whose code is replaced by one that leaves a mark."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs))
    config = keras.saving.serialize_keras_object(model)
    (saved,) = [each for each in config["config"]["layers"] if each["class_name"] == "Lambda"]
    code, _, _ = func_dump(eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"))  # noqa: S307
    saved["config"]["function"] = {
        "class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}
    }  # fmt: skip
    return config


def deep(_: Config) -> Config:
    nested: Any = None
    for _ in range(70):
        nested = [nested]
    return {"nested": nested}


def configs(marker: Path) -> dict[str, tuple[Callable[[Config], Any], str]]:
    gadget = {"module": "keras.utils", "class_name": "function", "config": "get_file"}
    return {
        "CVE-2024-3660, the code of a Lambda": (lambda _: lambda_model(marker), "a Lambda layer"),
        "CVE-2025-1550, a function of any module": (
            layer("function", "os", command="true"), "a function by its name"
        ),
        "CVE-2025-1550, a class of any module": (
            layer("Popen", "subprocess", args=["touch", str(marker)]), "holds a Popen (subprocess)"
        ),
        "CVE-2025-8747, a function of Keras as a gadget": (
            layer("Lambda", function=gadget, arguments={"origin": f"file://{OUTSIDE}"}),
            "a Lambda layer",
        ),
        "CVE-2025-8747, the same in an activation": (
            lambda config: {**config, "config": {**config["config"], "activation": gadget}},
            "a function by its name",
        ),
        "CVE-2025-9906, safe mode switched off": (
            layer("enable_unsafe_deserialization", "keras.config"),
            "holds a enable_unsafe_deserialization (keras.config)",
        ),
        "CVE-2025-12058, a vocabulary that is any file": (
            layer("StringLookup", vocabulary=OUTSIDE), "a StringLookup"
        ),
        "CVE-2025-12058, the same in TextVectorization": (
            layer("TextVectorization", vocabulary=OUTSIDE), "a TextVectorization"
        ),
        "a Hashing layer": (layer("Hashing", num_bins=3), "a Hashing layer"),
        "CVE-2025-12060, an archive unpacked anywhere": (
            layer("get_file", "keras.utils", origin="file:///x.tar", extract=True),
            "holds a get_file (keras.utils)",
        ),
        "CVE-2026-1462, a SavedModel from a path": (
            layer("TFSMLayer", filepath=str(marker.parent)), "a TFSMLayer"
        ),
        "a pickle in a wrapper of Torch": (layer("TorchModuleWrapper"), "a TorchModuleWrapper"),
        "a wrapper around any layer": (
            layer("TimeDistributed", layer={}), "holds a TimeDistributed (keras.layers)"
        ),
        "a tensor as a setting": (
            in_backbone(hidden_dim={"class_name": "__tensor__", "config": {"value": [1]}}),
            "holds a __tensor__",
        ),
        "a registered name of somebody else's package": (
            in_place_of_the_backbone(
                module="evil", class_name="Evil", config={}, registered_name="evil>Evil"
            ),
            "holds a Evil (evil>Evil)",
        ),
        "KerasHub's name and another module": (
            in_place_of_the_backbone(
                module="os.path",
                class_name="BertBackbone",
                config={},
                registered_name="keras_hub>BertBackbone",
            ),
            "holds a BertBackbone",
        ),
        "a preprocessor of one's own": (
            lambda config: {
                **config,
                "config": {
                    **config["config"],
                    "preprocessor": {
                        "module": "my_code", "class_name": "MyPreprocessor", "config": {},
                        "registered_name": "my_code>MyPreprocessor",
                    },
                },
            },
            "holds a MyPreprocessor (my_code>MyPreprocessor)",
        ),
        "word pieces from any file": (in_tokenizer(vocabulary=OUTSIDE), "names the file"),
        "merges from any file": (in_tokenizer(merges="../merges.txt"), "names the file"),
        "a SentencePiece model from any file": (in_tokenizer(proto=OUTSIDE), "names the file"),
        "assets outside the preset": (
            in_tokenizer(config_file="../../etc/x.json"), "'config_file' is"
        ),
        "a path in any setting": (in_backbone(name="../../x"), "may name a file"),
        "an address in any setting": (in_backbone(weights="http://x/y"), "names the file"),
        "a backend's config": (in_backbone(backend_config="x"), "'backend_config' names"),
        "10^12 units": (in_backbone(hidden_dim=10**12), "'hidden_dim' is 1e+12"),
        "tables that are large together": (
            in_backbone(vocabulary_size=4_000_000, hidden_dim=32_768), "parameters"
        ),
        "more parameters than weights": (
            in_backbone(hidden_dim=16_384), "parameters, and the weights hold"
        ),
        "a sequence of 10^9": (
            lambda config: _into(config, "preprocessor", {"sequence_length": 10**9}),
            "'sequence_length'",
        ),
        "NaN as a setting": (in_backbone(dropout=float("nan")), "holds NaN"),
        "JSON too deep": (deep, "nested deeper than"),
        "quantised weights": (
            in_backbone(dtype={
                "module": "keras.dtype_policies", "class_name": "QuantizedDTypePolicy",
                "config": {"mode": "int8", "source_name": "float32"}, "registered_name": None,
            }),
            "save it before quantize() is called",
        ),
    }  # fmt: skip
