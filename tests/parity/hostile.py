"""Models that would harm whoever loads them without care, of each kind that has been published.

A payload does no more than create the file `marker`. Each model is a tiny BERT that was changed in
one place; `hostile_models` says what its refusal must name.
"""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
from parity.hostile_archives import CONFIG, WEIGHTS, archives, rewrite, weights
from parity.hostile_configs import OUTSIDE, Config, configs, lambda_model


def kinds() -> list[str]:
    """List what `hostile_models` writes."""
    nowhere = Path()
    parts = (configs(nowhere), archives(), weights(), preset_files(nowhere), others(nowhere))
    return [kind for part in parts for kind in part]


def hostile_models(good: Path, preset: Path, directory: Path) -> dict[str, tuple[Path, str]]:
    """Write the models.

    Args:
        good: a `.keras` file of a tiny BERT classifier.
        preset: the same as a preset.
        directory: where they are written.

    Returns:
        By the kind of each: the model, and what its refusal must say.
    """
    marker = directory / "marker"
    made: dict[str, tuple[Path, str]] = {}
    for kind, (change, output) in configs(marker).items():
        path = directory / f"config-{len(made)}.keras"
        rewrite(good, path, config=change)
        made[kind] = (path, output)
    for kind, (damage, output) in archives().items():
        path = directory / f"archive-{len(made)}.keras"
        damage(good, path)
        made[kind] = (path, output)
    for kind, (fill, output) in weights().items():
        path = directory / f"weights-{len(made)}.keras"
        rewrite(good, path, weights=fill)
        made[kind] = (path, output)
    for kind, (name, text, output) in preset_files(marker).items():
        path = directory / f"preset-{len(made)}"
        copy_preset(preset, path)
        (path / name).unlink()
        text(path / name) if callable(text) else (path / name).write_bytes(text)
        made[kind] = (path, output)
    for kind, (write, output) in others(marker).items():
        path = directory / f"other-{len(made)}"
        made[kind] = (write(path), output)
    return made


def copy_preset(preset: Path, path: Path) -> None:
    for file in preset.rglob("*"):
        if file.is_file():
            copy = path / file.relative_to(preset)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())


def preset_files(marker: Path) -> dict[str, tuple[str, Any, str]]:
    def as_json(value: Any) -> bytes:
        return json.dumps(value).encode()

    def damaged(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["x"] = h5py.ExternalLink("other.h5", "/")

    vocabulary = "assets/tokenizer/vocabulary.txt"
    saved = {"module": "keras.layers", "registered_name": None, "config": {"vocabulary": OUTSIDE}}
    return {
        "a preset's task": (
            "task.json",
            lambda path: path.write_bytes(as_json(lambda_model(marker))),
            "task.json holds a Lambda",
        ),
        "a preset's tokenizer": (
            "tokenizer.json", as_json({**saved, "class_name": "StringLookup"}), "a StringLookup"
        ),
        "a preset's preprocessor": (
            "preprocessor.json", as_json({**saved, "class_name": "X"}), "holds a X"
        ),
        "a preset's config that is a link": (
            "task.json", lambda path: path.symlink_to(OUTSIDE), "task.json is a link that leads out"
        ),
        "a preset's weights that are a link": (
            WEIGHTS, lambda path: path.symlink_to(OUTSIDE), f"{WEIGHTS} is a link that leads out"
        ),
        "a preset's weights with links": (WEIGHTS, damaged, "is a link to another place"),
        "a preset's vocabulary that is a directory": (
            vocabulary, lambda path: path.mkdir(), f"{vocabulary} is no file"
        ),
        "a preset's vocabulary of one line": (vocabulary, b"a" * 5000, "a line of more than"),
        "a preset's config that is no JSON": (
            "tokenizer.json", b"\x80\x04pickle", "tokenizer.json is no JSON"
        ),
    }  # fmt: skip


def hdf5(path: Path, marker: Path) -> Path:
    """Write what Keras 2 saved: its legacy loader knows no safe mode (CVE-2025-9905)."""
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(lambda_model(marker))
    return path


def saved_model(path: Path) -> Path:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"")
    return path


def pickled(path: Path) -> Path:
    path = path.with_suffix(".pkl")
    path.write_bytes(b"\x80\x04.")
    return path


def hugging_face(header: Any, data: bytes = b"", length: int | None = None) -> Any:
    """Write a Hugging Face directory with one safetensors file."""

    def write(path: Path) -> Path:
        path.mkdir()
        (path / CONFIG).write_text('{"model_type": "bert"}')
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        start = struct.pack("<Q", len(text) if length is None else length)
        (path / "model.safetensors").write_bytes(start + text + data)
        return path

    return write


def others(marker: Path) -> dict[str, tuple[Callable[[Path], Path], str]]:
    def tensor(start: int, end: int, size: int = 2) -> Config:
        return {"dtype": "F32", "shape": [size], "data_offsets": [start, end]}

    return {
        "CVE-2025-9905, a Lambda in HDF5": (lambda path: hdf5(path, marker), "an HDF5 file"),
        "a SavedModel": (saved_model, "a SavedModel of TensorFlow"),
        "a pickled model": (pickled, "is no .keras file"),
        "tensors over each other": (
            hugging_face({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)), "over another"
        ),
        "a tensor past the end": (hugging_face({"a": tensor(0, 8)}, bytes(4)), "copy it again"),
        "a tensor of another size": (
            hugging_face({"a": tensor(0, 8, 10**12)}, bytes(8)), "which its shape"
        ),
        "a header past the end": (hugging_face({}, length=1 << 40), "is cut off"),
        "a header that is no JSON": (hugging_face(b"{"), "is no safetensors header"),
        "a pointer of Git LFS": (
            lambda path: _lfs(hugging_face({})(path)), "is a pointer of git-lfs"
        ),
    }  # fmt: skip


def _lfs(path: Path) -> Path:
    (path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    return path
