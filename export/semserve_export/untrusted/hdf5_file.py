"""Checks HDF5 files of weights before Keras reads them: only plain arrays of numbers."""

import math
from pathlib import Path

import h5py
import numpy as np

from semserve_export.errors import WeightsError

KINDS = "fiub"  # of NumPy dtypes: floats, integers, booleans
BFLOAT16 = (np.dtype("V2"), "bfloat16")  # the form in which Keras writes it, and its attribute
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
MOST_OBJECTS = 100_000  # XLM-RoBERTa large has 1,400
DEEPEST = 40  # groups
MOST_DIMENSIONS = 8
MOST_TIMES_SMALLER = 200  # largest ratio of unpacked to stored bytes of an array
SMALL = 16 << 20  # bytes; smaller arrays may have any ratio
CHUNK = 1 << 22  # values
OPTIMIZER = "/optimizer/"  # data of the training, which is not read


def check_hdf5(path: Path) -> int:
    """Check every link, every array's storage and every number of an HDF5 file of weights.

    Returns:
        The number of values in the file.

    Raises:
        WeightsError: the file is damaged; or contains a link, an external or virtual array, a
            plugin filter, an array that is larger than its stored bytes, other data than numbers,
            or a number that is not finite.
    """
    name = path.name
    if not path.is_file():
        raise WeightsError(f"{name} is missing")
    try:
        with h5py.File(path, "r") as file:
            return _check_groups(file, name)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise WeightsError(f"{name} is damaged or no HDF5 file: {reason}") from error


def _check_groups(file: h5py.File, name: str) -> int:
    pending, numbers = [(file["/"], 0)], 0
    seen: set[int] = set()
    while pending:
        group, depth = pending.pop()
        if depth > DEEPEST:
            raise WeightsError(f"{name} has groups deeper than {DEEPEST}")
        for key in group:
            where = f"{name}: {group.name.rstrip('/')}/{key}"[:200]
            if type(group.get(key, getlink=True)) is not h5py.HardLink:
                raise WeightsError(f"{where} is a link to another place or file")
            one = group[key]
            address = h5py.h5o.get_info(one.id).addr
            if address in seen:
                raise WeightsError(f"{where} is linked to twice")
            seen.add(address)
            if len(seen) > MOST_OBJECTS:
                raise WeightsError(f"{name} has more than {MOST_OBJECTS} objects")
            if isinstance(one, h5py.Group):
                pending.append((one, depth + 1))
            elif isinstance(one, h5py.Dataset):
                _check_array(one, where)
                numbers += one.size
            else:
                raise WeightsError(f"{where} is neither a group nor an array")
    return numbers


def _check_array(array: h5py.Dataset, where: str) -> None:
    layout = array.id.get_create_plist()
    if layout.get_external_count():
        raise WeightsError(f"{where} is kept in another file")
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        raise WeightsError(f"{where} is a virtual array, made of other files")
    filters = {layout.get_filter(place)[0] for place in range(layout.get_nfilters())}
    if filters - FILTERS:
        raise WeightsError(f"{where} needs the HDF5 filter {min(filters - FILTERS)}, a plugin")
    bfloat16 = array.dtype == BFLOAT16[0] and array.attrs.get("dtype") == BFLOAT16[1]
    if array.dtype.kind not in KINDS and not bfloat16:
        raise WeightsError(f"{where} holds {array.dtype}, not numbers")
    if array.shape is None or len(array.shape) > MOST_DIMENSIONS:
        raise WeightsError(f"{where} has no shape, or more than {MOST_DIMENSIONS} dimensions")
    said, stored = math.prod(array.shape) * array.dtype.itemsize, array.id.get_storage_size()
    most = max(SMALL, MOST_TIMES_SMALLER * stored) if filters else stored
    if said > most:
        raise WeightsError(f"{where} says that it has {said} bytes, and {stored} are stored")
    if array.dtype.kind == "f" and not array.name.startswith(OPTIMIZER):
        _check_finite(array, where)


def _check_finite(array: h5py.Dataset, where: str) -> None:
    rows = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    parts = (
        (array[start : start + rows] for start in range(0, array.shape[0], rows))
        if (array.shape)
        else iter([array[()]])
    )
    if not all(np.isfinite(part).all() for part in parts):
        raise WeightsError(f"{where} holds numbers that are not finite")
