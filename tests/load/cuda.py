"""The command `python -m load.cuda`: the server on a GPU, beside the bare session and torch.

It prints a line for each measurement, and writes it to `cuda.jsonl` at once; at the end it draws
`cuda.png`. The clients are several processes, so that one Python interpreter is not the limit.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
from cyclopts import Parameter
from semserve.v1 import embedding_pb2

from load.bundle import Bundle, read_bundle
from load.client import drive
from load.cuda_report import Report, draw
from load.load import Load
from load.process import free_port, running
from load.record import LoadError
from load.texts import WORDS

SERVING = "serving on "
FLOPS_PER_TOKEN = 21.3e6
"""Of MiniLM-L6: twice its 10.6 million weights outside the embeddings."""
PEAK_FLOPS = 989e12
"""Of an H100 in fp16 on tensor cores, without sparsity (NVIDIA's data sheet)."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure, and for how long."""

    models: Path = Path("models")
    """Directory of the bundles."""
    embedder: str = "minilm-l6-v2"
    """The embedding model to load."""
    classifier: str = "nli-bert-tiny"
    """The classifier that is loaded beside it."""
    device: str = "cuda"
    """Device of the server."""
    variant: str = "auto"
    """Graph to serve."""
    processes: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of server processes."""
    texts: tuple[int, ...] = (1, 8, 32, 256)
    """Texts of a call."""
    lengths: tuple[int, ...] = (14, 64, 256)
    """Tokens of a text."""
    clients: int = 6
    """Client processes."""
    seconds: float = 3.0
    """Window of a measurement."""
    requests: int = 1_000_000
    """Texts of the memory check."""
    server_flag: tuple[str, ...] = ()
    """Further words for the server's command line."""
    quick: bool = False
    """Fewer and shorter measurements: at most 150 s on an H100."""
    torch: bool = True
    """Whether to measure sentence-transformers in fp16, if it is installed."""
    results: Path = Path("results")
    """Where the results are written."""


def texts_of(tokens: int, count: int) -> list[str]:
    """Return different texts of a number of tokens, with the two special ones."""
    words = WORDS.read_text().split()
    draw = np.random.default_rng(tokens)
    return [" ".join(draw.choice(words, max(tokens - 2, 1))) for _ in range(count)]


def requests_of(bundle: Bundle, tokens: int, texts: int) -> tuple[bytes, ...]:
    """Return serialized requests for packed fp32 vectors."""
    pool = texts_of(tokens, max(2048, 4 * texts))
    groups = [pool[start : start + texts] for start in range(0, len(pool) - texts + 1, texts)]
    return tuple(
        embedding_pb2.EmbedRequest(
            model=bundle.name, texts=group, encoding=embedding_pb2.VECTOR_ENCODING_FLOAT32
        ).SerializeToString()
        for group in groups[:256]
    )


@contextlib.contextmanager
def serving(settings: Settings, processes: int, *flags: str) -> Iterator[str]:
    """Serve the bundles on a free port; the address."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "semserve_server", "--models", str(settings.models)),
        *("--default-embedder", settings.embedder, "--default-classifier", settings.classifier),
        *("--device", settings.device, "--variant", settings.variant, "--address", address),
        *("--processes", str(processes), *settings.server_flag, *flags),
    ]
    with running(f"semserve x {processes}", command) as process:
        print(process.wait_for(lambda said: SERVING in said, "banner")[-700:], flush=True)
        yield address


def ask(pool: ProcessPoolExecutor, load: Load, clients: int) -> tuple[float, float, float]:
    """Run a load in several client processes; texts a second, p50 and p99 in milliseconds."""
    share = replace(load, callers=max(load.callers // clients, 1), connections=4)
    records = [one.result() for one in [pool.submit(drive, share) for _ in range(clients)]]
    for record in records:
        record.require_ok()
    waits = np.concatenate([record.latencies() for record in records]) * 1e3
    rate = sum(record.texts_per_second for record in records)
    return rate, float(np.percentile(waits, 50)), float(np.percentile(waits, 99))


def through_grpc(
    settings: Settings, bundle: Bundle, report: Report, pool: ProcessPoolExecutor
) -> None:
    """Measure the server, with each number of processes."""
    for processes in settings.processes:
        with serving(settings, processes) as address:
            for tokens in settings.lengths:
                for texts in settings.texts:
                    load = Load(
                        address=address, group=0, method="/semserve.v1.EmbeddingService/Embed",
                        requests=requests_of(bundle, tokens, texts), texts_per_request=texts,
                        answer_bytes=4 * bundle.dimensions * texts,
                        callers=_callers(texts, tokens) * settings.clients,
                        seconds=settings.seconds, warm_up=min(1.0, settings.seconds),
                    )  # fmt: skip
                    try:
                        rate, middle, tail = ask(pool, load, settings.clients)
                    except LoadError as error:
                        report.add(part="grpc", processes=processes, failed=str(error))
                        continue
                    report.add(
                        part="grpc", processes=processes, texts=texts, tokens=tokens,
                        texts_per_second=rate, p50_ms=middle, p99_ms=tail,
                        of_peak=rate * tokens * FLOPS_PER_TOKEN / PEAK_FLOPS,
                    )  # fmt: skip


def _callers(texts: int, tokens: int) -> int:
    """Return the calls in flight of a client process: enough to fill batches, not queues."""
    return max(2, min(64, 65_536 // (texts * tokens)))


def bare_session(settings: Settings, bundle: Bundle, report: Report) -> None:
    """Run the server's own session without a server, in batches of one length."""
    from semserve_server.config import Config
    from semserve_server.registry.sessions import open_on_device
    from semserve_server.repository.manifest import read_bundle as read_whole
    from semserve_server.runtime.encoding import Encoding

    config = Config(device=settings.device, variant=settings.variant)
    opened = open_on_device(config, read_whole(bundle.directory), threads=1, exclusive_threads=1)
    for tokens in settings.lengths:
        for texts in (*settings.texts, 1024):
            batch = [Encoding([5] * tokens, [0] * tokens)] * texts
            rate = _rate(partial(opened.session.run, batch), texts, settings.seconds / 3)
            report.add(part="bare session", texts=texts, tokens=tokens, texts_per_second=rate)


def sentence_transformers(settings: Settings, bundle: Bundle, report: Report) -> None:
    """Run torch's BERT in fp16 on the same card, with sentence-transformers' mean and L2."""
    try:
        import torch
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel
    except ImportError as error:
        report.add(part="torch", skipped=str(error))
        return
    shape = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    model = BertModel(shape, add_pooling_layer=False).half().eval().to(settings.device)
    tokenizer = Tokenizer.from_file(str(bundle.tokenizer))
    tokenizer.enable_padding()

    def encode(texts: list[str]) -> object:
        made = tokenizer.encode_batch(texts)
        ids = torch.tensor([one.ids for one in made]).to(settings.device)
        mask = torch.tensor([one.attention_mask for one in made]).to(settings.device)
        with torch.inference_mode():
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).half()
            mean = (states * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy()

    for tokens in settings.lengths:
        for texts in (32, 256, 1024):
            pool = texts_of(tokens, texts)
            rate = _rate(partial(encode, pool), texts, settings.seconds / 3)
            report.add(part="torch fp16", texts=texts, tokens=tokens, texts_per_second=rate)


def _rate(run: Any, texts: int, seconds: float) -> float:
    for _ in range(3):
        run()
    begun, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < begun + seconds:
        run()
        count += texts
    return count / (now - begun)


def memory(settings: Settings, bundle: Bundle, report: Report, pool: ProcessPoolExecutor) -> None:
    """Send mixed lengths with both models loaded, and read the card's memory as they run."""
    with serving(settings, settings.processes[-1]) as address:
        done = 0
        while done < settings.requests:
            for tokens in settings.lengths:
                load = Load(
                    address=address, group=0, method="/semserve.v1.EmbeddingService/Embed",
                    requests=requests_of(bundle, tokens, 256), texts_per_request=256,
                    answer_bytes=4 * bundle.dimensions * 256, callers=2 * settings.clients,
                    seconds=settings.seconds, warm_up=0.1,
                )  # fmt: skip
                rate, _, _ = ask(pool, load, settings.clients)
                done += int(rate * settings.seconds)
            report.add(part="memory", texts_so_far=done, used_mib=_used_mib())


def _used_mib() -> int:
    """Return the memory that the first GPU has in use; 0 without one."""
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return int(subprocess.check_output(command, text=True, timeout=20).splitlines()[0])
    return 0


def main(settings: Annotated[Settings | None, Parameter(name="*")] = None) -> int:
    """Measure; the exit code is 1 if a part failed."""
    settings = settings or Settings()
    if settings.quick:
        settings = replace(
            settings, seconds=1.5, processes=(1, 8), texts=(1, 32, 256), lengths=(14, 128),
            requests=min(settings.requests, 1_000_000),
        )  # fmt: skip
    settings.results.mkdir(parents=True, exist_ok=True)
    report = Report(settings.results / "cuda.jsonl")
    bundle = read_bundle(settings.models / settings.embedder)
    failed = False
    context = get_context("spawn")
    with ProcessPoolExecutor(settings.clients, mp_context=context) as pool:
        parts: Sequence[Any] = (
            lambda: bare_session(settings, bundle, report),
            lambda: sentence_transformers(settings, bundle, report) if settings.torch else None,
            lambda: through_grpc(settings, bundle, report, pool),
            lambda: memory(settings, bundle, report, pool),
        )
        for part in parts:
            try:
                part()
            except Exception as error:
                failed = True
                report.add(part="failed", error=repr(error)[:600])
    with contextlib.suppress(ImportError):
        draw(report, settings.results / "cuda.png")
    return int(failed)


if __name__ == "__main__":
    app = cyclopts.App(name="load.cuda", version_flags=())
    app.default(main)
    sys.exit(app())
