"""Train teachers of MPNet on one GPU, and the three classifiers of pairs that learn from them.

    python train_gpu.py --packed packed.bin --output DIRECTORY --budget-seconds 300

Each training is a process of its own, all on the one device: a process that waits for its own
launches leaves the device to the others. What each has to say goes to the standard output, and
what it has learnt to `NAME.safetensors` in the output, each time that it is better than before.
`metrics.json` has the figures. Needs PyTorch, numpy and safetensors; nothing of semserve.
"""

import argparse
import json
import os
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoder import Classifier, values_of
from pairs import Pairs
from run import MARGIN, Run
from safetensors.torch import load_file, save_file
from torch import multiprocessing
from training import Course, Plan, accuracy, answers, balanced, of_labels, train

TEACHERS = 4
TEACHER_SHARE = 0.27  # of the time, until which teachers are trained at most
ANSWER_SHARE = 0.47  # until which they are waited for
LAST_SHARE = 0.14  # of a learner's time: the human labels, last
WEAKER = 0.02  # a teacher that is so much worse than the best is not asked
TEACHER_PART = 0.5  # of the target of a pair that has a label
ANSWER_BATCH = 1024
LARGEST_FILE = 15 << 20  # bytes
LAST_RATE = 0.1  # of the rate before

TEACHER = Plan("teacher", rate=4e-5, epochs=2.5, batch=64, ends=2, average=0.998)
TEACHER_RATES = (3e-5, 4e-5, 4e-5, 5e-5)
LEARNERS = {
    "nli-mpnet": Plan("nli-mpnet", rate=5e-4, epochs=3, batch=128, ends=2, seed=60),
    "nli-minilm": Plan(
        "nli-minilm", rate=4e-4, epochs=10, batch=256, ends=1, seed=61, average=0.999
    ),
    "nli-minilm-b": Plan(
        "nli-minilm-b", rate=4e-4, epochs=10, batch=256, ends=1, seed=62, average=0.999
    ),
    "nli-bert-tiny": Plan(
        "nli-bert-tiny", rate=1.5e-3, epochs=16, batch=512, ends=1, seed=63, average=0.999
    ),
}
BASES = {"nli-mpnet": "mpnet", "nli-bert-tiny": "tiny"}
DROPOUT = {"teacher": 0.1, "nli-mpnet": 0.05, "nli-bert-tiny": 0.0}
RANK = 16


def teach(run: Run, place: int) -> None:
    """Train one teacher and have it answer every pair; leave the answers in the scratch folder."""
    device = run.device()
    plan = replace(TEACHER, name=f"teacher-{place}", rate=TEACHER_RATES[place], seed=50 + place)
    model = run.model("mpnet", device, plan.seed, dropout=DROPOUT["teacher"])
    freeze(model, "words", "positions")
    labelled, dev = run.pairs("labelled", device), run.pairs("snli_dev", device)
    course = Course()
    run.log(plan.name, status="begins", device=device)
    targets = of_labels(labelled, plan.smoothing)
    ones = torch.ones(len(labelled), device=device)
    train(model, plan, labelled, targets, ones, dev, run.at(TEACHER_SHARE), run.log, course)
    put(model, course.values)
    outputs: dict[str, Any] = {"lines": np.array(json.dumps(course.lines))}
    for name in ("snli_dev", "mnli_val", "labelled", "unlabelled"):
        pairs = run.pairs(name, device)
        outputs[name] = answers(model, pairs, plan.ends, ANSWER_BATCH)
        if name in ("snli_dev", "mnli_val"):
            run.log(plan.name, **{name: round(accuracy(outputs[name], pairs), 4)})
    run.log(plan.name, status="has answered")
    write_whole(run.scratch / f"teacher-{place}.npz", lambda path: np.savez(path, **outputs))


def freeze(model: Classifier, *prefixes: str) -> None:
    """Train nothing whose name begins so."""
    for name, value in model.named_parameters():
        if name.startswith(prefixes):
            value.requires_grad_(False)


def put(model: Classifier, values: dict[str, torch.Tensor]) -> None:
    """Put values back where `values_of` took them."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)


def write_whole(path: Path, write: Any) -> None:
    """Write a file under another name and rename it, so that no reader gets a part of it."""
    part = path.with_name(f"part-{path.name}")
    write(part)
    part.replace(path)


def wait_for_teachers(run: Run) -> dict[str, np.ndarray]:
    """Return the mean logits of the good teachers, by set of pairs, once all have answered."""
    paths = [run.scratch / f"teacher-{place}.npz" for place in range(TEACHERS)]
    while time.time() < run.at(ANSWER_SHARE) + 25 and not all(path.exists() for path in paths):
        if time.time() > run.at(ANSWER_SHARE) and any(path.exists() for path in paths):
            break
        time.sleep(0.2)
    teachers = [dict(np.load(path)) for path in paths if path.exists()]
    dev = np.asarray(run.arrays["data/snli_dev/label"])[: run.most]
    reached = [float(np.mean(teacher["snli_dev"].argmax(1) == dev)) for teacher in teachers]
    good = [
        teacher
        for teacher, share in zip(teachers, reached, strict=True)
        if share > max(reached) - WEAKER
    ]
    names = ("snli_dev", "mnli_val", "labelled", "unlabelled")
    means = {name: np.mean([teacher[name] for teacher in good], axis=0) for name in names}
    figures = {
        f"{name}": round(
            float(
                np.mean(
                    means[name].argmax(1)
                    == np.asarray(run.arrays[f"data/{name}/label"])[: run.most]
                )
            ),
            4,
        )
        for name in ("snli_dev", "mnli_val")
    }
    run.log("teachers", options=len(good), each=reached, together=figures)
    lines = [line for teacher in teachers for line in json.loads(str(teacher["lines"]))]
    figures |= {"each": reached, "asked": len(good), "lines": lines}
    write_whole(run.scratch / "teachers.json", lambda path: path.write_text(json.dumps(figures)))
    return means


def learn(run: Run, name: str) -> None:
    """Train one learner on the teachers' answers first and on people's labels last."""
    device, plan = run.device(), LEARNERS[name]
    base = BASES.get(name, "minilm")
    low_rank = name == "nli-mpnet"
    # The two of MiniLM begin with the same head, so that the mean of their weights has a meaning.
    more = {"dropout": DROPOUT.get(name, 0.05), "rank": RANK if low_rank else 0}
    model = run.model(base, device, 60, **more)
    if name != "nli-bert-tiny":
        freeze(model, "words", *(("positions", "norm") if low_rank else ()))
    means = wait_for_teachers(run)
    dev, mnli = run.pairs("snli_dev", device), run.pairs("mnli_val", device)
    labelled, pairs = run.pairs("labelled", device), joined(run, device)
    soft = {
        key: torch.softmax(torch.from_numpy(means[key]), 1) for key in ("labelled", "unlabelled")
    }
    human = TEACHER_PART * soft["labelled"].to(device)
    human += (1 - TEACHER_PART) * of_labels(labelled, plan.smoothing)
    targets = torch.cat([human, soft["unlabelled"].to(device)])
    left = run.end - time.time()
    course = Course()
    figures: dict[str, Any] = {"plan": vars(plan), "soft_began": time.time() - run.began}
    run.log(name, status="begins", pairs=len(pairs), seconds=round(left, 1))

    def keep(best: Course) -> None:
        write_values(run, name, best.values)

    until = time.time() + (1 - LAST_SHARE) * left
    train(model, plan, pairs, targets, balanced(targets), dev, until, run.log, course, keep)
    figures["after_answers"] = course.accuracy
    if name == "nli-minilm-b":
        return
    if name == "nli-minilm":
        use_mean_with(run, "nli-minilm-b", model, course, dev, plan, keep)
    put(model, course.values)
    last = replace(plan, name=f"{name}-last", rate=plan.rate * LAST_RATE, epochs=1.0, batch=64)
    last = replace(last, average=0.995, measured=(0.5,), seed=plan.seed + 10)
    train(model, last, labelled, human, balanced(human), dev, run.end, run.log, course, keep)
    put(model, course.values)
    for key, measured in (("snli_dev", dev), ("mnli_val", mnli)):
        figures[key] = accuracy(answers(model, measured, plan.ends), measured)
    figures["lines"] = course.lines
    run.log(name, status="done", snli_dev=figures["snli_dev"], mnli_val=figures["mnli_val"])
    path = run.scratch / f"figures-{name}.json"
    write_whole(path, lambda part: part.write_text(json.dumps(figures, default=str)))


def joined(run: Run, device: torch.device) -> Pairs:
    """Return the labelled pairs and the unlabelled ones behind them as one set."""
    arrays = {name: run.arrays[name] for name in ("data/tokens", "data/lengths")}
    for part in ("a", "b", "label"):
        sides = [
            run.arrays[f"data/{name}/{part}"][: run.most] for name in ("labelled", "unlabelled")
        ]
        arrays[f"data/all/{part}"] = np.concatenate(sides)
    return Pairs(arrays, "all", device)


def use_mean_with(
    run: Run, other: str, model: Classifier, course: Course, dev: Pairs, plan: Plan, keep: Any
) -> None:
    """Keep the mean of two trainings' weights, or the other's, where it is better."""
    limit = min(time.time() + 12, run.end - 5)
    parts = sorted(run.output.glob(f"{other}*.safetensors"))
    while time.time() < limit and not (run.scratch / f"done-{other}").exists():
        time.sleep(0.1)
    parts = sorted(run.scratch.glob(f"{other}.*safetensors"))
    if not parts:
        return
    other_values = load_file(parts[0])
    tried = {
        "mean": {k: (v + other_values[k].float()) / 2 for k, v in course.values.items()},
        "other": {k: other_values[k].float() for k in course.values},
    }
    for name, values in tried.items():
        put(model, values)
        reached = accuracy(answers(model, dev, plan.ends), dev)
        run.log(plan.name, **{name: round(reached, 4)})
        course.lines.append({"name": plan.name, "of": name, "validation_accuracy": reached})
        if reached > course.accuracy:
            course.accuracy, course.values = reached, values_of(model)
            keep(course)


def write_values(run: Run, name: str, values: dict[str, torch.Tensor]) -> None:
    """Write what was learnt: fp16 where matrices are large, in files that may be carried."""
    if name == "nli-minilm-b":
        path = run.scratch / f"{name}.safetensors"
        write_whole(path, lambda part: save_file(values, part))
        return
    half = name == "nli-minilm"
    files: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for key, value in values.items():
        small = value.half() if half and value.ndim > 1 else value
        size += small.nbytes
        if size > LARGEST_FILE:
            files.append({})
            size = small.nbytes
        files[-1][key] = small.contiguous()
    for place, tensors in enumerate(files):
        path = run.output / f"{name}.{place}.safetensors"
        write_whole(path, lambda part, tensors=tensors: save_file(tensors, part))


def work(run: Run, place: int) -> None:
    """Be a teacher, then a learner; what fails is told, and the others go on."""
    names = list(LEARNERS)
    for task in (lambda: teach(run, place), lambda: learn(run, names[place])):
        try:
            task()
        except Exception:  # noqa: BLE001 - one process of several
            traceback.print_exc()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    (run.scratch / f"done-{names[place]}").touch()


def main() -> None:
    """Start the processes, and gather their figures as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, default=Path("scratch"))
    parser.add_argument("--budget-seconds", type=float, default=300)
    parser.add_argument("--began", type=float, help="when the budget began, as `date +%%s` says")
    parser.add_argument("--tiny", action="store_true", help="a few pairs and two layers: a trial")
    options = parser.parse_args()
    for folder in (options.output, options.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    for old in options.scratch.iterdir():
        old.unlink()
    run = Run(options)
    run.log("main", status="read", cores=os.cpu_count(), budget=options.budget_seconds)
    context = multiprocessing.get_context("fork")  # before CUDA is touched: the arrays are shared
    workers = [context.Process(target=work, args=(run, place)) for place in range(TEACHERS)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers) and time.time() < run.end + MARGIN - 1:
        gather(run)
        time.sleep(1)
    gather(run)
    for worker in workers:
        if worker.is_alive():
            worker.kill()
    run.log("main", status="ends")


def gather(run: Run) -> None:
    """Write metrics.json of all the figures that there are."""
    figures: dict[str, Any] = {"facts": {k: v for k, v in run.facts.items() if k != "pieces"}}
    figures |= {"budget_seconds": run.options.budget_seconds, "torch": torch.__version__}
    for path in run.scratch.glob("*.json"):
        if not path.name.startswith("part-"):
            figures[path.stem] = json.loads(path.read_text())
    write_whole(run.output / "metrics.json", lambda part: part.write_text(json.dumps(figures)))


if __name__ == "__main__":
    main()
