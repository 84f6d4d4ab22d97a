"""One training on a device: its arrays, its clock and its folders."""

import argparse
import time
from typing import Any

import numpy as np
import torch
from encoder import Classifier, Shape
from packing import read_packed
from pairs import Pairs

MARGIN = 6  # seconds at the end, for writing


class Run:
    """What all processes know: the arrays, the clock and the folders."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.arrays, self.facts = read_packed(options.packed)
        self.began = options.began or time.time()
        self.end = self.began + options.budget_seconds - MARGIN
        self.output, self.scratch = options.output, options.scratch
        self.most = 96 if options.tiny else None

    def at(self, share: float) -> float:
        """Return when a share of the time is over."""
        return self.began + share * (self.end - self.began)

    def log(self, name: str, **figures: Any) -> None:
        """Print one line."""
        text = " ".join(f"{key} {value}" for key, value in figures.items())
        print(f"{time.time() - self.began:6.1f} {name}: {text}", flush=True)

    def device(self) -> torch.device:
        """Return the device, set up."""
        torch.set_num_threads(1)
        torch.backends.cuda.matmul.allow_tf32 = True
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def pairs(self, name: str, device: torch.device) -> Pairs:
        """Return a set of pairs."""
        return Pairs(self.arrays, name, device, self.most)

    def model(self, base: str, device: torch.device, seed: int, **more: Any) -> Classifier:
        """Return a classifier on a base with a fresh head; tables of MPNet stay as they are."""
        torch.manual_seed(seed)
        prefix = f"{base}/"
        arrays = {
            name.removeprefix(prefix): torch.from_numpy(np.array(value))
            for name, value in self.arrays.items()
            if name.startswith(prefix)
        }
        if self.options.tiny:
            two = ("layers.0.", "layers.1.")
            arrays = {k: v for k, v in arrays.items() if k[:7] != "layers." or k.startswith(two)}
        shape = Shape(self.facts["heads"][base], self.facts["epsilon"][base], **more)
        return Classifier(arrays, shape).to(device)
