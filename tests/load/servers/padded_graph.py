"""Builds the graph that peers are given: fp32, padded, of ONNX Runtime's own fused operators.

A script for the export environment: `padded_graph.py SOURCE TARGET`, where SOURCE is a recipe or
the directory of a model. It is what ONNX Runtime's
optimiser makes of a BERT as it is published, and what a server has to run that was not given ours.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console
from semserve_export.cli.app import CACHE
from semserve_export.files.downloads import fetch_weights
from semserve_export.graphs.encoder_reader import read_encoder
from semserve_export.models.loaded_model import LoadedModel, load_recipe
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.recipes import Recipe, find_recipe
from semserve_export.variants.fp16 import padded_graph


def build(source: str, target: Path) -> None:
    """Write the graph of a BERT."""
    model = _load(source)
    encoder = model.encoder or read_encoder(model.keras_model, model.spec.gelu)
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(padded_graph(encoder, model.spec, np.float32), target)


def _load(source: str) -> LoadedModel:
    if Path(source).is_dir():
        return load_custom_model(ModelOptions(source))
    recipe = find_recipe(source)
    if not isinstance(recipe, Recipe):
        raise SystemExit(f"{source} is no BERT")
    return load_recipe(recipe, fetch_weights(recipe.weights, CACHE, Console(stderr=True)))


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
