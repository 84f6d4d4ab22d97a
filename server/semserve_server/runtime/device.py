"""The device that models run on, as `--device` names it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from semserve_server.errors import ConfigError

MAX_GPUS = 64
"""Most GPUs of one process."""
LARGEST_GPU = 1023
"""Largest number of a GPU."""

Kind = Literal["auto", "cpu", "cuda", "tensorrt"]
_PATTERN = re.compile(r"(auto|cpu)|(cuda|tensorrt)(?::(\d{1,4}(?:,\d{1,4})*))?")


@dataclass(frozen=True, slots=True)
class Device:
    """A parsed `--device`."""

    kind: Kind
    gpus: tuple[int, ...] = (0,)
    """Numbers of the GPUs, as CUDA counts them (after `CUDA_VISIBLE_DEVICES`)."""

    def __str__(self) -> str:
        if self.kind in ("auto", "cpu") or self.gpus == (0,):
            return self.kind
        return f"{self.kind}:{','.join(map(str, self.gpus))}"


def parse_device(text: str) -> Device:
    """Parse the value of `--device`.

    Raises:
        ConfigError: the text is not a device.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--device {text}: must be auto, cpu, cuda, cuda:N, cuda:N,M or tensorrt; N and M are "
            "numbers of GPUs"
        )
    kind: Kind = found[1] or found[2]  # type: ignore[assignment]  # the pattern has no other
    gpus = tuple(int(one) for one in found[3].split(",")) if found[3] else (0,)
    if len(set(gpus)) != len(gpus) or len(gpus) > MAX_GPUS or max(gpus) > LARGEST_GPU:
        raise ConfigError(
            f"--device {text}: names a GPU twice, more than {MAX_GPUS} GPUs, or one above "
            f"{LARGEST_GPU}"
        )
    return Device(kind, gpus)
