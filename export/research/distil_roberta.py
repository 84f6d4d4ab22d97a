"""Distil `nli-minilm` into a RoBERTa of its size on CPUs, from what `pack_roberta.py` packed.

    python distil_roberta.py --packed roberta.bin --output DIRECTORY --minutes 80

The learner has the teacher's layers, other pieces, and no segments. At first the tables and
the lowest two layers learn the teacher's vectors after those layers, for only they are wrong; then
everything learns the teacher's answers, its vectors of the words' last pieces in every layer, and
the labels where there are some. The rate falls by the clock.
Every few minutes a checkpoint is written; a run that begins again goes on from it. Needs PyTorch,
numpy and safetensors; nothing of semserve.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aligned_pairs import Both, joined
from encoder import Classifier, Shape
from packing import read_packed
from safetensors.torch import save_file
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from training import Averaged

TABLES = ("words.", "positions.", "norm.")
LOWER_SHARE = 0.15  # of the time in which only the tables and the lower layers learn
LOWER_LAYERS = 2
TABLES_RATE, LAYERS_RATE = 5e-4, 2e-4
LOWER_RATES = (1e-3, 5e-4)  # while only they learn
LABEL_PART = 0.4  # of the target of a pair that has a label
HIDDEN_WEIGHT = 3.0
BATCH = 64
MEASURE_EVERY, SAVE_EVERY = 480.0, 180.0  # seconds
QUICK = 2000  # pairs of SNLI dev that are measured on the way


class Spoken(Classifier):
    """A classifier that also tells the tokens' vectors after each layer."""

    def speak(
        self,
        ids: torch.Tensor,
        segments: torch.Tensor | None,
        real: torch.Tensor,
        layers: int | None = None,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the vectors, each [batch, tokens, H], and the logits, fp32."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]]
        if self.segments is not None:
            x = x + self.segments(segments)
        x = F.dropout(self.norm(x), self.shape.dropout, self.training)
        bias = ((~real)[:, None, None, :] * -1e4).expand(-1, 1, ids.shape[1], -1)
        vectors = []
        for layer in self.layers[:layers]:
            x = layer(x, bias)
            vectors.append(x)
        pooled = torch.tanh(self.pooler(x[:, 0].float()))
        return vectors, self.head(pooled.float())


def loss_of(
    teacher: Spoken, learner: Spoken, pairs: Both, rows: np.ndarray, layers: int | None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss of one batch and its parts; of the vectors alone where layers are few."""
    ids, real = pairs.learners(rows)
    teacher_ids, segments, known, mates = pairs.teachers(rows, ids.shape[1])
    with torch.no_grad():
        teacher_vectors, answer = teacher.speak(teacher_ids, segments, known, layers)
    vectors, logits = learner.speak(ids, None, real, layers)
    at, token = torch.nonzero(mates >= 0, as_tuple=True)
    mate = mates[at, token]
    hidden = sum(
        F.mse_loss(vector[at, token].float(), teacher_vector[at, mate].float())
        for vector, teacher_vector in zip(vectors, teacher_vectors, strict=True)
    ) / len(vectors)
    if layers:
        return hidden, {"lower": hidden.detach()}
    target = torch.softmax(answer.float(), 1)
    label = torch.from_numpy(pairs.label[rows])
    part = torch.where(label >= 0, LABEL_PART, 0.0)[:, None]
    target = (1 - part) * target + part * F.one_hot(label.clamp(min=0), 3)
    answers = -(target * F.log_softmax(logits.float(), 1)).sum(1).mean()
    return answers + HIDDEN_WEIGHT * hidden, {
        "answers": answers.detach(),
        "hidden": hidden.detach(),
    }


@torch.inference_mode()
def accuracy(model: Spoken, pairs: Both, most: int | None = None) -> float:
    """Return the share of pairs whose largest logit is the label's."""
    model.eval()
    right = 0
    for rows in pairs.by_length(128, most):
        ids, real = pairs.learners(rows)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _, logits = model.speak(ids, None, real)
        right += int((logits.argmax(1).numpy() == pairs.label[rows]).sum())
    model.train()
    return right / (most or len(pairs))


def models_of(arrays: Mapping[str, Any], heads: int, dropout: float) -> tuple[Spoken, Spoken]:
    """Return the teacher and the learner as it begins."""
    values = {k: torch.from_numpy(np.array(v)) for k, v in arrays.items() if v.dtype.kind == "f"}
    teacher_values = {
        k.removeprefix("teacher/"): v for k, v in values.items() if k.startswith("teacher/")
    }
    learner_values = teacher_values | {
        k.removeprefix("learner/"): v for k, v in values.items() if k.startswith("learner/")
    }
    del learner_values["segments.weight"]
    teacher = Spoken(teacher_values, Shape(heads, 1e-12)).eval()
    learner = Spoken(learner_values, Shape(heads, 1e-5, dropout))
    for model in (teacher, learner):
        with torch.no_grad():
            model.head.weight.copy_(teacher_values["head.weight"])
            model.head.bias.copy_(teacher_values["head.bias"])
    return teacher.requires_grad_(False), learner


class Training:
    """One run: the models, the optimiser, the clock and the checkpoint."""

    def __init__(self, options: argparse.Namespace) -> None:
        arrays, self.facts = read_packed(options.packed)
        self.options, self.output = options, options.output
        self.pairs = joined(arrays)
        self.dev, self.mnli = Both(arrays, "snli_dev"), Both(arrays, "mnli_val")
        torch.manual_seed(options.seed)
        self.teacher, self.learner = models_of(arrays, self.facts["heads"], options.dropout)
        named = dict(self.learner.named_parameters())
        tables = [v for k, v in named.items() if k.startswith(TABLES)]
        others = [v for k, v in named.items() if not k.startswith(TABLES)]
        self.optimizer = torch.optim.AdamW(
            [{"params": tables, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.01}],
            lr=0.0,
            betas=(0.9, 0.98),
        )
        self.mean = Averaged(self.learner, options.average)
        self.step, self.began, self.lines = 0, time.time(), []
        if (self.output / "checkpoint.pt").exists():
            self._resume()
        self.random = np.random.default_rng([options.seed, self.step])

    @property
    def share(self) -> float:
        """How much of the time is over."""
        return (time.time() - self.began) / (60 * self.options.minutes)

    def run(self) -> None:
        """Train until the time is over; write checkpoints, figures and the weights."""
        measured = saved = time.time()
        parts: dict[str, float] = {}
        for rows in self.pairs.shuffled(BATCH, self.random):
            if self.share >= 1 or self.step >= self.options.steps:
                break
            layers = self._set_rates()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss, losses = loss_of(self.teacher, self.learner, self.pairs, rows, layers)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [p for p in self.learner.parameters() if p.grad is not None], 1.0
            )
            self.optimizer.step()
            self.mean.update()
            self.step += 1
            for key, value in losses.items():
                parts[key] = parts.get(key, float(value)) * 0.98 + float(value) * 0.02
            if self.step % 50 == 0:
                self.log(**{key: round(value, 4) for key, value in parts.items()})
            if time.time() - measured > MEASURE_EVERY:
                self.measure(QUICK)
                measured = time.time()
            if time.time() - saved > SAVE_EVERY:
                self.save()
                saved = time.time()
        self.measure(None)
        self.save()

    def _set_rates(self) -> int | None:
        """Set the rates; return how many layers learn, None for all."""
        share = self.share
        lower = share < LOWER_SHARE
        since = share / LOWER_SHARE if lower else (share - LOWER_SHARE) / (1 - LOWER_SHARE)
        fall = max(0.02, 1 - 0.8 * since if lower else 1 - since)
        warm = min(1.0, (self.step + 1) / 50)
        highest = LOWER_RATES if lower else (TABLES_RATE, LAYERS_RATE)
        if not lower:
            warm = min(warm, 0.1 + since / 0.03)
        for group, rate in zip(self.optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * fall * warm
        return LOWER_LAYERS if lower else None

    def measure(self, most: int | None) -> None:
        """Measure the mean of the weights, keep them, and write them where they are the last."""
        self.mean.swap()
        figures = {"snli_dev": round(accuracy(self.learner, self.dev, most), 4), "of": most or 9842}
        if most is None:
            figures["mnli_val"] = round(accuracy(self.learner, self.mnli), 4)
        values = {k: v.detach().contiguous() for k, v in self.learner.named_parameters()}
        save_file(values, self.output / "part.safetensors")
        (self.output / "part.safetensors").replace(self.output / "learner.safetensors")
        self.mean.swap()
        self.log(**figures)

    def log(self, **figures: Any) -> None:
        """Print and keep one line."""
        minutes = round((time.time() - self.began) / 60, 2)
        line = {"step": self.step, "minutes": minutes, "share": round(self.share, 3), **figures}
        self.lines.append(line)
        print(json.dumps(line), flush=True)
        (self.output / "log.json").write_text(json.dumps(self.lines))

    def save(self) -> None:
        """Write the checkpoint under another name and rename it."""
        part = self.output / "checkpoint.part"
        state = {
            "model": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "mean": self.mean.state(),
            "step": self.step,
            "began": self.began,
            "lines": self.lines,
        }
        torch.save(state, part)
        part.replace(self.output / "checkpoint.pt")

    def _resume(self) -> None:
        state = torch.load(self.output / "checkpoint.pt", weights_only=True)
        self.learner.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.mean.resume(*state["mean"])
        self.step, self.began, self.lines = state["step"], state["began"], state["lines"]


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--steps", type=int, default=1 << 30, help="at most")
    parser.add_argument("--seed", type=int, default=70)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--average", type=float, default=0.998)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    training = Training(options)
    if training.step == 0:
        training.measure(QUICK)
    training.run()


if __name__ == "__main__":
    main()
