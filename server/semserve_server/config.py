"""Every setting: one frozen value, made in main from flags and `SEMSERVE_…` variables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

MODELS = Group("Models", sort_key=1)
NETWORK = Group("Network", sort_key=2)
COMPUTE = Group("Compute and batching", sort_key=3)
LIMITS = Group("Limits", sort_key=4)
CONNECTIONS = Group("Connections", sort_key=5)
SECURITY = Group("Security", sort_key=6)
OPERATION = Group("Operation", sort_key=7)
OBSERVATION = Group("Observation", sort_key=8)

# In every setting 0 means that there is no such limit, or that the server chooses, as the help
# says; where neither makes sense, 0 is refused.
_Count = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000_000))]
_Seconds = Annotated[float, Parameter(validator=Number(gte=0, lte=86_400))]
_SomeSeconds = Annotated[float, Parameter(validator=Number(gt=0, lte=86_400))]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the server was asked for."""

    models: Annotated[Path, Parameter(group=MODELS)] = Path("models")
    """Directory of bundles, all of which are served; or one bundle."""

    default_embedder: Annotated[str, Parameter(group=MODELS)] = "minilm-l6-v2"
    """Model that answers embedding requests which name none, where several are loaded."""

    default_classifier: Annotated[str, Parameter(group=MODELS)] = "nli-minilm"
    """Model that answers classification requests which name none, where several are loaded."""

    default_scorer: Annotated[str, Parameter(group=MODELS)] = ""
    """Model that answers Score and Rerank requests which name none, where several are loaded.
    Empty: none."""

    default_sparse_embedder: Annotated[str, Parameter(group=MODELS)] = ""
    """Model that answers EmbedSparse requests which name none, where several are loaded. Empty:
    none."""

    echo: Annotated[int, Parameter(group=MODELS, validator=Number(gte=0, lte=65_536))] = 0
    """Serve no bundle but a model `echo` of so many dimensions that runs nothing: it shows the
    transport's own ceiling. 0: never, serve the bundles."""

    address: Annotated[str, Parameter(group=NETWORK, env_var="SEMSERVE_LISTEN")] = "127.0.0.1:50051"
    """HOST:PORT to listen on; port 0 takes a free one; unix:PATH a socket. SEMSERVE_ADDRESS, which
    is the client's variable, is read in this release alone, and not where SEMSERVE_LISTEN is
    set."""

    processes: Annotated[int, Parameter(group=NETWORK, validator=Number(gte=1, lte=256))] = 1
    """Server processes that share the address, where one Python is too little for many small
    calls. The kernel spreads connections over them, so a client needs several. They divide the CPUs
    and the rates of keys; every other limit holds for each of them."""

    device: Annotated[Literal["auto", "cpu", "cuda"], Parameter(group=COMPUTE)] = "auto"
    """Where models run. With cuda the start fails if CUDA is not to be had; auto takes what is
    there and says so."""

    variant: Annotated[
        Literal["auto", "portable", "fused", "fp16", "int8"], Parameter(group=COMPUTE)
    ] = "auto"
    """Graph of each bundle to run; `semserve models` tells which it is. auto: the quickest in fp32,
    which answers as Keras does; the others trade that for speed, as the manifest tells."""

    lanes: Annotated[int, Parameter(group=COMPUTE, validator=Number(gte=0, lte=256))] = 0
    """Runs of one model side by side. On a CPU several one-thread runs answer more texts than one
    run of many threads. 0: auto, one for each CPU, or one on CUDA."""

    threads: Annotated[int, Parameter(group=COMPUTE, validator=Number(gte=0, lte=256))] = 0
    """Threads of a run on the CPU that has no other beside it. More than the lanes' own bring a
    lone text's answer sooner, and keep a second copy of the weights that runs multiply with. 0:
    auto, one for each CPU; 1 spares the copy."""

    max_batch_tokens: Annotated[
        int, Parameter(group=COMPUTE, validator=Number(gte=0, lte=10_000_000))
    ] = 0
    """Most tokens of a batch, padding counted as what it costs the graph. 0: auto, as many as still
    raise what is computed in a second, measured at the start."""

    calibration_cache: Annotated[str, Parameter(group=COMPUTE)] = "auto"
    """Directory that keeps what was measured of each bundle, so that the next start on this CPU
    chooses the same batches and measures nothing. Its owner alone may be able to write it. none:
    measure at every start. auto: semserve in XDG_CACHE_HOME, or in ~/.cache; where that cannot be
    used, as none."""

    max_queue_entries: Annotated[_Count, Parameter(group=LIMITS)] = 16_384
    """Most texts that wait for one model; more are refused with RESOURCE_EXHAUSTED."""

    max_queue_tokens: Annotated[_Count, Parameter(group=LIMITS)] = 4_194_304
    """Most tokens that wait for one model, unless a single request has more; more are refused with
    RESOURCE_EXHAUSTED."""

    max_queue_characters: Annotated[_Count, Parameter(group=LIMITS)] = 16_777_216
    """Most characters that wait to be tokenised for one model; more are refused with
    RESOURCE_EXHAUSTED."""

    max_request_texts: Annotated[_Count, Parameter(group=LIMITS)] = 2048
    """Most texts of one request, over all of its fields; pairs to classify count as one each."""

    max_request_scores: Annotated[_Count, Parameter(group=LIMITS)] = 1_048_576
    """Most scores that one Matrix, Search, Rank or Compare request computes: left texts times right
    texts, or queries times corpus."""

    max_queue_scores: Annotated[_Count, Parameter(group=LIMITS)] = 8_388_608
    """Most scores that wait to be computed, of all requests; more are refused with
    RESOURCE_EXHAUSTED. One thread computes them, and writes the answers of EmbedSparse, of which
    each text counts as one."""

    max_tokenize_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 1_048_576
    """Most UTF-8 bytes of all texts of one Tokenize request. Its answer has about 15 bytes for each
    token, and a token may be a single character."""

    max_text_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 65_536
    """Most UTF-8 bytes of one text. Tokenising costs time even where the end is cut off."""

    max_message_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 4_194_304
    """Most bytes of one request message. gRPC refuses larger ones with RESOURCE_EXHAUSTED."""

    max_stream_requests: Annotated[_Count, Parameter(group=LIMITS)] = 64
    """Most messages of one stream in flight; past it the server stops reading the stream."""

    max_stream_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 33_554_432
    """Bytes of messages of one stream in flight; past it the server stops reading the stream."""

    max_unread_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 268_435_456
    """Most bytes of memory for answers that clients have not read yet, and for their requests. Past
    it streams are not read any further, and other calls are refused with RESOURCE_EXHAUSTED before
    they are computed. One connection may hold at most half of it."""

    max_stream_unread_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 16_777_216
    """The same bytes, for one stream: past it the server stops reading the stream. A stream may
    always hold one answer."""

    max_calls: Annotated[_Count, Parameter(group=LIMITS)] = 16_384
    """Most calls at a time, streams and health watches among them; further ones are refused with
    RESOURCE_EXHAUSTED."""

    max_connections: Annotated[_Count, Parameter(group=LIMITS)] = 4096
    """Most connections at a time; further ones are closed at once. Each needs an open file, so
    `ulimit -n` bounds them too."""

    max_connection_calls: Annotated[_Count, Parameter(group=LIMITS)] = 1024
    """Most calls of one connection at a time, streams among them; further ones wait at their
    client."""

    handshake_timeout: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 10.0
    """Most seconds that a new connection may take over its TLS and HTTP/2 handshakes. 0: no
    limit."""

    max_connection_idle: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 900.0
    """Seconds without a call after which a connection is closed; clients open another by
    themselves. 0: never."""

    max_connection_age: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 0.0
    """Seconds, give or take a tenth, after which a connection is asked to end, so that clients
    look for new replicas. 0: never."""

    max_connection_grace: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 60.0
    """Seconds that the calls of a connection may still take after --max-connection-age. 0: no
    limit."""

    keepalive_time: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 60.0
    """Seconds of silence after which a client is asked whether it is still there. 0: never. Pings
    of a client's own may come every 10 seconds; one that pings more often is disconnected (GOAWAY,
    too_many_pings)."""

    keepalive_timeout: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 20.0
    """Seconds within which a client must answer a keepalive ping; then its connection is closed,
    and its calls end. 0: no limit."""

    tls_certificate: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """PEM file of the server's certificate, and of those between it and a known authority. Read
    again when it changes. Without it the port speaks plain text."""

    tls_key: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """PEM file of the certificate's private key, not encrypted."""

    tls_client_ca: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """PEM file of authorities: only clients with a certificate of theirs may connect."""

    keys: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """File of the keys that may call, as `semserve-server key` writes it. Read again when it
    changes. Without it whoever connects may call."""

    open_health: Annotated[bool, Parameter(group=SECURITY)] = True
    """Whether health is told without a key."""

    open_reflection: Annotated[bool, Parameter(group=SECURITY)] = False
    """Whether the schema is shown without a key."""

    open_inference: Annotated[bool, Parameter(group=OPERATION)] = False
    """Also serve the Open Inference Protocol (inference.GRPCInferenceService), for clients of
    KServe and Triton."""

    allow_model_control: Annotated[bool, Parameter(group=OPERATION)] = False
    """Let callers load and unload the bundles of --models, by name, with LoadModel and
    UnloadModel."""

    reload_interval: Annotated[_Seconds, Parameter(group=OPERATION)] = 0.0
    """Seconds between looks at --models for bundles that are new or have changed, which are then
    loaded while the old ones serve. 0: never, only at SIGHUP."""

    load_timeout: Annotated[_Seconds, Parameter(group=OPERATION)] = 600.0
    """Most seconds that loading one bundle may take. At the start the server then ends with exit
    code 2; later the bundle is refused and the load left to itself. 0: no limit."""

    stall_timeout: Annotated[_Seconds, Parameter(group=OPERATION)] = 5.0
    """Seconds without any progress of a run, or of the server itself, after which health turns
    NOT_SERVING until it gets on. Looked at every second. 0: never."""

    run_timeout: Annotated[_Seconds, Parameter(group=OPERATION)] = 60.0
    """Most seconds that a run may take. One that takes longer hangs: the process ends with exit
    code 1 for its supervisor to start another. 0: no limit."""

    drain_delay: Annotated[_Seconds, Parameter(group=OPERATION)] = 0.5
    """Seconds between telling NOT_SERVING and refusing work: for balancers to notice, and for calls
    that have arrived to be taken up, which gRPC would cancel. 0: never, there is
    no delay."""

    drain_timeout: Annotated[_SomeSeconds, Parameter(group=OPERATION)] = 20.0
    """Most seconds that admitted work may take after SIGTERM and --drain-delay. Their sum, and 5 s
    for the end itself, must be less than your supervisor's patience before SIGKILL: 30 s in
    Kubernetes (terminationGracePeriodSeconds). 0 is refused."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Parameter(group=OBSERVATION)
    ] = "info"
    """Least severity that is logged, on standard error."""

    log_format: Annotated[Literal["text", "json"], Parameter(group=OBSERVATION)] = "text"
    """text for people; json for what collects logs: one object a line."""

    access_log: Annotated[bool, Parameter(group=OBSERVATION)] = False
    """Whether each request is logged: its RPC, code and time, never its texts."""

    metrics_address: Annotated[str, Parameter(group=OBSERVATION)] = ""
    """HOST:PORT of http://HOST:PORT/metrics for Prometheus; port 0 takes a free one. Without it
    nothing is served there. It asks for no key: keep it inside. Of several processes each has a
    port of its own, from this one on."""

    otlp_endpoint: Annotated[str, Parameter(group=OBSERVATION)] = ""
    """URL of an OpenTelemetry collector that takes OTLP by gRPC, such as http://127.0.0.1:4317,
    for a span of each request. Needs semserve-server[otel]. The SDK's own `OTEL_…` variables add to
    it."""

    trace_fraction: Annotated[
        float, Parameter(group=OBSERVATION, validator=Number(gte=0, lte=1))
    ] = 1.0
    """Share of the requests that are traced, of those whose callers do not say by `traceparent`. 0:
    never."""
