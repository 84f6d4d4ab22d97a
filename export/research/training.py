"""Steps of a training by the clock: rates fall as time or steps run out, whichever is sooner."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from encoder import Classifier, values_of
from pairs import Pairs
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

REPORT_STEPS = 100
LOOK_STEPS = 20  # the device is waited for so often, so that the clock tells where it stands
GRADIENT_NORM = 1.0
WEIGHT_DECAY = 0.01

Log = Callable[..., None]


@dataclass(frozen=True)
class Plan:
    """The numbers of one training."""

    name: str
    rate: float  # the highest
    epochs: float  # at most
    batch: int
    ends: int  # marks between the two texts of a pair
    warmup: float = 0.06  # share of the training
    average: float = 0.998  # decay of the running mean of the weights, a step
    seed: int = 0
    smoothing: float = 0.05  # of labels
    measured: tuple[float, ...] = (0.6, 0.8)  # when to measure, besides the end: shares


@dataclass
class Course:
    """A training's best weights so far, and how it went."""

    accuracy: float = 0.0
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)


def precision(device: torch.device) -> Any:
    """Compute products in bfloat16 on a GPU, and everything in fp32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


@torch.inference_mode()
def answers(model: Classifier, pairs: Pairs, ends: int, size: int = 1024) -> np.ndarray:
    """Return the logits of all pairs, fp32 [pairs, classes]."""
    model.eval()
    logits = torch.zeros(len(pairs), 3)
    for rows in pairs.by_length(size):
        with precision(pairs.device):
            logits[torch.from_numpy(rows)] = model(*pairs.batch(rows, ends)).float().cpu()
    model.train()
    return logits.numpy()


def accuracy(logits: np.ndarray, pairs: Pairs) -> float:
    """Return the share of pairs whose largest logit is the label's."""
    return float(np.mean(logits.argmax(1) == pairs.label))


class Averaged:
    """A running mean of the trained weights, which can be put in their place."""

    def __init__(self, model: Classifier, decay: float) -> None:
        self._live = [value for value in model.parameters() if value.requires_grad]
        self._mean = [value.detach().clone() for value in self._live]
        self._decay, self._steps = decay, 0

    def update(self) -> None:
        """Take the weights of one more step into the mean; the first ones are soon forgotten."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 9))
        live = [value.detach() for value in self._live]
        torch._foreach_lerp_(self._mean, live, 1 - decay)

    def state(self) -> tuple[list[torch.Tensor], int]:
        """Return the means and the steps that are in them, for a checkpoint."""
        return self._mean, self._steps

    def resume(self, mean: list[torch.Tensor], steps: int) -> None:
        """Go on from what `state` gave."""
        self._mean, self._steps = mean, steps

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their mean."""
        for value, mean in zip(self._live, self._mean, strict=True):
            unaveraged = value.detach().clone()
            value.copy_(mean)
            mean.copy_(unaveraged)


def train(  # noqa: PLR0913 - what, on what, to answer what, measured on what, until when
    model: Classifier,
    plan: Plan,
    pairs: Pairs,
    targets: torch.Tensor,
    weights: torch.Tensor,
    measured: Pairs,
    until: float,
    log: Log,
    course: Course,
    on_best: Callable[[Course], None] = lambda _: None,
) -> None:
    """Train until `until` (`time.time()`) or `plan.epochs`, keeping the best mean of the weights.

    Args:
        model: on the device; parameters that do not require a gradient stay.
        plan: the numbers.
        pairs: to learn from.
        targets: fp32 [pairs, classes] on the device, each row a distribution.
        weights: fp32 [pairs] on the device, with the mean 1: how much each pair counts.
        measured: pairs that choose.
        until: when the rate has to be 0.
        log: gets the figures.
        course: gets the best weights, if they are better than those that it has.
        on_best: called when they are.
    """
    began = time.time()
    random = np.random.default_rng([plan.seed, 1])
    torch.manual_seed(plan.seed)
    live = [value for value in model.parameters() if value.requires_grad]
    decayed = [value for value in live if value.ndim > 1]
    other = [value for value in live if value.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": WEIGHT_DECAY},
            {"params": other, "weight_decay": 0.0},
        ],
        lr=plan.rate,
        fused=pairs.device.type == "cuda",
    )
    mean = Averaged(model, plan.average)
    total = max(1, int(plan.epochs * len(pairs) / plan.batch))
    marks = [share for share in plan.measured if share < 1]
    step, share, loss_sum, right = 0, 0.0, 0.0, 0.0
    model.train()

    def measure() -> None:
        mean.swap()
        reached = accuracy(answers(model, measured, plan.ends), measured)
        if reached > course.accuracy:
            course.accuracy, course.values = reached, values_of(model)
            on_best(course)
        mean.swap()
        line = {"step": step, "share": round(share, 3), "validation_accuracy": round(reached, 4)}
        course.lines.append({"name": plan.name, **line})
        log(plan.name, **line)

    while share < 1:
        for rows in pairs.shuffled(plan.batch, random):
            if step % LOOK_STEPS == 0 and pairs.device.type == "cuda":
                torch.cuda.synchronize()
            share = max(step / total, (time.time() - began) / max(1e-3, until - began))
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * min(1.0, (share + 1e-3) / plan.warmup, (1 - share))
            picked = torch.from_numpy(rows).to(pairs.device, non_blocking=True)
            with precision(pairs.device):
                logits = model(*pairs.batch(rows, plan.ends))
            target = targets[picked]
            loss = -(target * F.log_softmax(logits.float(), 1)).sum(1)
            loss = (loss * weights[picked]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(live, GRADIENT_NORM, foreach=True)
            optimizer.step()
            mean.update()
            step += 1
            loss_sum += loss.detach()
            right += (logits.detach().argmax(1) == target.argmax(1)).float().mean()
            if step % REPORT_STEPS == 0:
                line = {"step": step, "share": round(share, 3)}
                line |= {"loss": round(float(loss_sum) / REPORT_STEPS, 4)}
                line |= {"accuracy": round(float(right) / REPORT_STEPS, 4)}
                course.lines.append({"name": plan.name, **line})
                log(plan.name, of=total, seconds=round(time.time() - began, 1), **line)
                loss_sum, right = 0.0, 0.0
            if marks and share >= marks[0]:
                marks.pop(0)
                measure()
    measure()


def of_labels(pairs: Pairs, smoothing: float) -> torch.Tensor:
    """Return the labels as distributions, fp32 [pairs, classes] on the device."""
    return (
        torch.eye(3, device=pairs.device)[torch.from_numpy(pairs.label).to(pairs.device)]
        * (1 - smoothing)
        + smoothing / 3
    )


def balanced(targets: torch.Tensor) -> torch.Tensor:
    """Return a weight for each pair, of mean 1, that gives each class the same mass."""
    mass = targets.mean(0)
    weights = (targets * (1 / (3 * mass.clamp(min=1e-3)))).sum(1)
    return weights / weights.mean()
