"""Make adapters of what `train_gpu.py` learnt, calibrated and measured by the product's own code.

    python unpack.py NAME --learnt DIRECTORY --packed packed.bin --data DIRECTORY \
        --weights CACHE --output ADAPTERS

The adapter of NAME, such as nli-minilm, replaces the one in ADAPTERS/NAME.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from names import TABLES, Array, full_name, keras_names, to_keras
from pack import HELD_OUT, RECIPES, TRAINING, folder_of, rows_of
from packing import read_packed
from safetensors.numpy import load_file
from semserve_export.data.pairs import PairFiles, TrainingData, read_pairs
from semserve_export.files.digest import sha256_of
from semserve_export.models.delta_adapter import base_values
from semserve_export.training.base_model import BaseModel, start_from_recipe
from semserve_export.training.classifier_training import keep
from semserve_export.training.trainer import TrainingResult

BASES = {"nli-mpnet": "mpnet", "nli-minilm": "minilm", "nli-bert-tiny": "tiny"}
NOT_RUN = ("names.py", "unpack.py")  # of the scripts: these only convert
TRAINED_BY = (
    "export/research/train_gpu.py on one H100, as EXPERIMENTS.md describes; the accuracies of the"
    " curve were measured in bfloat16"
)
NOTICE = (
    "Fine-tuned by the semserve authors, Apache License 2.0, on the Stanford Natural Language"
    " Inference corpus (Bowman et al. 2015, CC BY-SA 4.0), its counterfactual revision (Kaushik et"
    " al. 2020) and the Multi-Genre NLI corpus (Williams et al. 2018). None of their text is"
    " included."
)


def main() -> None:
    """Read, convert, measure and write one adapter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BASES)
    for name in ("learnt", "packed", "data", "weights", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--scripts", type=Path, default=Path(__file__).parent, help="as they ran")
    options = parser.parse_args()
    base = BASES[options.name]
    recipe = RECIPES[base]
    folder = folder_of(recipe, options.weights)
    start = start_from_recipe(recipe, folder)
    arrays, packed = read_packed(options.packed)
    metrics = json.loads((options.learnt / "metrics.json").read_text())
    if any(metrics["facts"][key] != packed[key] for key in metrics["facts"]):
        raise SystemExit(f"{options.packed}: is not what {options.learnt} was learnt from")

    learnt: dict[str, Array] = {}
    for path in sorted(options.learnt.glob(f"{options.name}.*.safetensors")):
        learnt |= load_file(path)
    values = values_in_keras(learnt, start, rows_of(base, folder, packed["pieces"]))
    labels = start.labels
    read = read_pairs([options.data / name for name in TRAINING], labels)
    labelled_pairs = read.pairs[: len(arrays["data/labelled/label"])]  # for the count alone
    new = [*range(len(arrays["data/unlabelled/label"]))]
    data = TrainingData(
        PairFiles(labelled_pairs, read.sha256),
        read_pairs([options.data / HELD_OUT], labels),
        PairFiles(new, packed["unlabelled_files"]),  # type: ignore[arg-type]  # only the number of pairs is read
    )
    course = TrainingResult(values, (), 0, round(metrics["budget_seconds"]))
    facts = facts_of(options.name, start, metrics, data)
    ran = sorted(path for path in options.scripts.glob("*.py") if path.name not in NOT_RUN)
    facts["scripts"] = {path.name: sha256_of(path) for path in ran}
    lines = lines_of(metrics[f"figures-{options.name}"]["lines"])
    low_rank = any(key.endswith(".a") for key in learnt)
    record = keep(
        start,
        data,
        course,
        facts,
        options.output / options.name,
        NOTICE,
        low_rank=low_rank,
        log=lines,
    )
    print(options.name, json.dumps(record["figures"]))


def facts_of(
    name: str, start: BaseModel, metrics: dict[str, Any], data: TrainingData
) -> dict[str, Any]:
    """Return what the adapter's record says beside the figures that are measured here."""
    figures, teachers = metrics[f"figures-{name}"], metrics["teachers"]
    return {
        **start.facts,
        "trained_by": TRAINED_BY,
        "plan": {
            **figures["plan"],
            "teachers": f"{teachers['asked']} of mpnet, fine-tuned in the same run",
            "teacher_accuracies": [round(share, 4) for share in teachers["each"]],
            "max_tokens": metrics["facts"]["max_tokens"],
        },
        "training_files": dict(data.training.sha256),
        "unlabelled_files": dict(data.unlabelled.sha256),
        "validation_files": dict(data.validation.sha256),
        "measured_where_it_was_trained": {
            "snli_dev": figures["snli_dev"],
            "mnli_val": figures["mnli_val"],
            "precision": "bfloat16",
        },
    }


def lines_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of the log in one count of steps: the last pass begins again at 0."""
    counted, before, last = [], 0, ""
    for line in lines:
        if "step" not in line:
            continue
        if last and line["name"] != last:
            before = counted[-1]["step"]
        last = line["name"]
        counted.append({**line, "step": before + line["step"]})
    return counted


def values_in_keras(
    learnt: dict[str, Array], start: BaseModel, rows: list[int]
) -> dict[str, Array]:
    """Return what was learnt by the names of the Keras variables, fp32, whole.

    Args:
        learnt: parameters of `encoder.py`; products are updated by the factors `.b` and `.a`.
        start: the model that it was learnt from.
        rows: the row of the model's table of word vectors of each packed id.
    """
    model = start.make(0, "float32")
    base = base_values(model)
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    layers = 1 + max(int(name.split(".")[1]) for name in learnt if name.startswith("layers."))
    architecture = "bert" if "segments.weight" in learnt else "mpnet"
    values: dict[str, Array] = {}
    for name, suffixes in keras_names(architecture, layers).items():
        paths = [full_name(suffix, shapes) for suffix in suffixes]
        parameter_shapes = [shapes[path] for path in paths]
        stem = name.removesuffix(".weight")
        if f"{stem}.a" in learnt and name.endswith(".weight"):
            update = learnt[f"{stem}.b"] @ learnt[f"{stem}.a"]
            deltas = to_keras(name, update.reshape(-1, update.shape[-1]), parameter_shapes)
            values |= {p: base[p] + delta for p, delta in zip(paths, deltas, strict=True)}
        elif name in learnt:
            pieces = to_keras(name, learnt[name].astype(np.float32), parameter_shapes)
            values |= {p: np.ascontiguousarray(v) for p, v in zip(paths, pieces, strict=True)}
    for name, suffix in TABLES.items():
        if name in learnt:
            path = full_name(suffix, shapes)
            values[path] = base[path].copy()
            count = len(learnt[name])
            values[path][rows if name == "words.weight" else slice(count)] = learnt[name]
    return values


if __name__ == "__main__":
    main()
