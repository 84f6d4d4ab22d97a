"""Archives and HDF5 files that lead out of themselves, or are larger than they look."""

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from parity.hostile_configs import OUTSIDE, Config

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def rewrite(
    good: Path,
    path: Path,
    config: Callable[[Config], Any] | None = None,
    weights: Callable[[h5py.File, Path], None] | None = None,
    add: Callable[[zipfile.ZipFile], None] | None = None,
    leave_out: str = "",
) -> None:
    """Copy a `.keras` file, with another config, other weights or further entries."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == CONFIG and config:
                data = json.dumps(config(json.loads(data))).encode()
            if name == WEIGHTS and weights:
                written = path.with_suffix(".h5")
                written.write_bytes(data)
                with h5py.File(written, "a") as file:
                    weights(file, path)
                data = written.read_bytes()
            if name != leave_out:
                new.writestr(name, data)
        if add:
            add(new)


def with_entry(
    name: str, data: bytes = b"x", mode: int = 0, method: int = zipfile.ZIP_STORED
) -> Any:
    def add(archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo(name)
        entry.external_attr, entry.compress_type = mode << 16, method
        archive.writestr(entry, data)

    return lambda good, path: rewrite(good, path, add=add)


def encrypted(good: Path, path: Path) -> None:
    """Set the flag of the first entry, in its header and in the directory at the end."""
    data = bytearray(good.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def twice(good: Path, path: Path) -> None:
    with_entry("assets/aaaa.txt")(good, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/bbbb.txt", b"y")
    path.write_bytes(path.read_bytes().replace(b"bbbb.txt", b"aaaa.txt"))


def doubled_key(good: Path, path: Path) -> None:
    rewrite(good, path, leave_out=CONFIG, add=lambda a: a.writestr(CONFIG, '{"a": 1, "a": 2}'))


def hdf5_renamed(_: Path, path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"


def archives() -> dict[str, tuple[Callable[[Path, Path], None], str]]:
    out = "leads out of it"
    return {
        "CVE-2026-12479, assets outside": (with_entry("assets/../../marker"), out),
        "an absolute entry": (with_entry("/marker"), out),
        "an entry on a drive": (with_entry("C:marker"), out),
        "an entry with a backslash": (with_entry("assets\\..\\marker"), out),
        "an entry with a line break": (with_entry("assets/a\nb"), out),
        "a link": (with_entry("assets/link", OUTSIDE.encode(), stat.S_IFLNK | 0o777), "is a link"),
        "a pickle": (with_entry("model.pkl"), "'model.pkl', which no .keras file has"),
        "weights of NumPy": (with_entry("model.weights.npz"), "which no .keras file has"),
        "an asset of another kind": (
            with_entry("assets/vocabulary.npy"), "'vocabulary.npy' is none of KerasHub's"
        ),
        "an encrypted entry": (encrypted, "is encrypted"),
        "an entry twice": (twice, "two entries 'assets/aaaa.txt'"),
        "a bomb": (
            with_entry("assets/bomb.txt", bytes(30 << 20), method=zipfile.ZIP_DEFLATED), "unpack"
        ),
        "another way of packing": (
            with_entry("assets/x.txt", method=zipfile.ZIP_LZMA), "in a way that Keras never uses"
        ),
        "very many entries": (
            lambda good, path: rewrite(
                good, path, add=lambda a: [a.writestr(f"assets/{n}", b"") for n in range(300)]
            ),
            "entries; at most",
        ),
        "a key twice in the config": (doubled_key, "the key 'a' is there twice"),
        "no config": (lambda good, path: rewrite(good, path, leave_out=CONFIG), "no config.json"),
        "a cut file": (
            lambda good, path: path.write_bytes(good.read_bytes()[:-3000]), "is cut off"
        ),
        "CVE-2025-9905, HDF5 under another name": (hdf5_renamed, "no .keras file"),
        "no archive": (lambda _, path: path.write_bytes(b"hello"), "no .keras file"),
    }  # fmt: skip


def weights() -> dict[str, tuple[Callable[[h5py.File, Path], None], str]]:
    def virtual(file: h5py.File, _: Path) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
        file.create_virtual_dataset("x", layout)

    def plugin(file: h5py.File, _: Path) -> None:
        file.create_dataset(
            "x", (4,), "f4", chunks=(4,), compression=32015, allow_unknown_filter=True
        )

    def pair(file: h5py.File, _: Path) -> None:
        file["x/y"] = file["/"]

    return {
        "CVE-2026-1669, numbers from any file": (
            lambda file, _: file.create_dataset("x", (2,), "u1", external=[(OUTSIDE, 0, 2)]),
            "is kept in another file",
        ),
        "CVE-2026-1669, a link to any file": (
            lambda file, _: file.__setitem__("x", h5py.ExternalLink("other.h5", "/")), "is a link"
        ),
        "a soft link": (lambda file, _: file.__setitem__("x", h5py.SoftLink("/")), "is a link"),
        "a virtual array": (virtual, "is a virtual array"),
        "CVE-2026-0897, a shape without numbers": (
            lambda file, _: file.create_dataset("x", (10**9, 10**9), "f4", chunks=(99, 99)),
            "bytes, and 0 are stored",
        ),
        "the same, compressed": (
            lambda file, _: file.create_dataset("x", (10**6, 10**6), "f4", compression="gzip"),
            "bytes, and 0 are stored",
        ),
        "a filter from a plugin": (plugin, "a plugin"),
        "a group that holds itself": (pair, "is linked to twice"),
        "texts in place of numbers": (
            lambda file, _: file.create_dataset("x", data=["a"], dtype=h5py.string_dtype()),
            "not numbers",
        ),
        "a named type": (
            lambda file, _: file.__setitem__("x", np.dtype("f4")), "neither a group nor an array"
        ),
        "NaN as a weight": (
            lambda file, _: file.create_dataset("x", data=np.float32([1, np.nan])), "not finite"
        ),
    }  # fmt: skip
