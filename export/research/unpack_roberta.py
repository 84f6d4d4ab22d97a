"""Keep what `distil_roberta.py` learnt: calibrated and measured by the product's own code.

    python unpack_roberta.py --learnt DIRECTORY --packed roberta.bin --tokenizer pieces.json \
        --data DIRECTORY --weights CACHE --output ADAPTERS

The vocabulary and the adapter of nli-roberta replace those in ADAPTERS/nli-roberta.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from names import TABLES, full_name, keras_names, to_keras
from pack import HELD_OUT, REPORTED, TRAINING, folder_of
from packing import Array, read_packed
from safetensors.numpy import load_file
from semserve_export.data.pairs import PairFiles, TrainingData, read_pairs
from semserve_export.files.digest import sha256_of
from semserve_export.models.loaded_model import WEIGHTS_FILE
from semserve_export.pipeline.custom_model import build_custom_tokenizer
from semserve_export.pipeline.distilled_roberta import (
    MERGES,
    VOCABULARY,
    make_preprocessor,
    make_start,
    teacher_digest,
)
from semserve_export.pipeline.preset_models import Preset
from semserve_export.recipes import NLI_ROBERTA
from semserve_export.training.base_model import BaseModel
from semserve_export.training.classifier_training import keep
from semserve_export.training.trainer import TrainingResult
from unpack import NOTICE

RAN = ("aligned_pairs.py", "distil_roberta.py", "encoder.py", "packing.py", "training.py")
TRAINED_BY = (
    "export/research/distil_roberta.py on two CPU cores, as EXPERIMENTS.md describes; the"
    " accuracies of the curve are on the first 2,000 pairs, in bfloat16"
)


def main() -> None:
    """Read, convert, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("learnt", "packed", "tokenizer", "data", "weights", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    output = options.output / NLI_ROBERTA.spec.name
    write_vocabulary(options.tokenizer, output)
    recipe = replace(NLI_ROBERTA, adapter=output)
    folder = folder_of(recipe, options.weights)
    arrays, packed = read_packed(options.packed)
    lines = json.loads((options.learnt / "log.json").read_text())
    model = make_start(recipe, folder)
    # Beside the adapter, so that its tokenizer is read like any preset's: `make parity`.
    make_preprocessor(recipe).save_to_preset(str(output))
    with tempfile.TemporaryDirectory() as directory:
        model.save_to_preset(directory)
        shutil.copy(Path(directory, "config.json"), output)
        make_preprocessor(recipe).save_to_preset(directory)
        preset = Preset.read(directory)
        tokenizer = build_custom_tokenizer(preset.load_tokenizer(), preset)
    labels = recipe.spec.labels or ()
    start = BaseModel(
        make=lambda dropout, _: make_start(recipe, folder, dropout),
        tokenizer=tokenizer,
        labels=labels,
        max_sequence_length=recipe.spec.max_sequence_length,
        facts={},
        inputs=recipe.spec.inputs,
    )
    read = read_pairs([options.data / name for name in TRAINING], labels)
    labelled_pairs = read.pairs[: len(arrays["data/labelled/label"])]  # for the count alone
    new = [*range(len(arrays["data/unlabelled/label"]))]
    data = TrainingData(
        PairFiles(labelled_pairs, read.sha256),
        read_pairs([options.data / HELD_OUT], labels),
        PairFiles(new, packed["unlabelled_files"]),  # type: ignore[arg-type]  # only the number of pairs is read
        read_pairs([options.data / REPORTED], labels),
    )
    values = values_in_keras(load_file(options.learnt / "learner.safetensors"), model)
    minutes = max(line["minutes"] for line in lines)
    course = TrainingResult(values, (), 0, round(60 * minutes))
    facts = facts_of(recipe, packed, lines)
    record = keep(start, data, course, facts, output, NOTICE, low_rank=False, log=curve_of(lines))
    print(json.dumps(record["figures"]))


def write_vocabulary(tokenizer: Path, output: Path) -> None:
    """Write the byte-level vocabulary as KerasHub's presets have it."""
    model = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]
    (output / VOCABULARY).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(model["vocab"], ensure_ascii=False, indent=0)
    (output / VOCABULARY).write_text(f"{text}\n", encoding="utf-8")
    merges = "".join(f"{' '.join(merge)}\n" for merge in model["merges"])
    (output / MERGES).write_text(merges, encoding="utf-8")


def values_in_keras(learnt: dict[str, Array], model: Any) -> dict[str, Array]:
    """Return what was learnt by the names of the Keras variables."""
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    values: dict[str, Array] = {}
    for name, suffixes in keras_names("bert", model.backbone.num_layers).items():
        paths = [full_name(suffix, shapes) for suffix in suffixes]
        pieces = to_keras(name, learnt[name].astype(np.float32), [shapes[path] for path in paths])
        values |= {p: np.ascontiguousarray(v) for p, v in zip(paths, pieces, strict=True)}
    for name in ("words.weight", "positions.weight"):
        values[full_name(TABLES[name], shapes)] = learnt[name].astype(np.float32)
    return values


def facts_of(recipe: Any, packed: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the adapter's record says beside the figures that are measured here."""
    here = Path(__file__).parent
    return {
        "recipe": recipe.spec.name,
        "base": f"{recipe.weights} and the adapter of {recipe.teacher.spec.name}",
        "base_sha256": recipe.weights.sha256[WEIGHTS_FILE],
        "teacher_sha256": teacher_digest(recipe),
        "labels": list(recipe.spec.labels or ()),
        "activation": recipe.spec.activation,
        "trained_by": TRAINED_BY,
        "plan": {
            "teachers": recipe.teacher.spec.name,
            "seed": 70,
            "pieces": packed["pieces"],
            "max_tokens": packed["max_tokens"],
            "steps": lines[-1]["step"],
            "batch_size": 64,
        },
        "training_files": packed["training_files"],
        "unlabelled_files": packed["unlabelled_files"],
        "validation_files": packed["validation_files"],
        "scripts": {name: sha256_of(here / name) for name in RAN},
    }


def curve_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of the log as `write_report` draws them."""
    curve = []
    for line in lines:
        if "answers" in line:
            curve.append({"step": line["step"], "loss": line["answers"]})
        if "snli_dev" in line:
            curve.append({"step": line["step"], "validation_accuracy": line["snli_dev"]})
    return curve


if __name__ == "__main__":
    main()
