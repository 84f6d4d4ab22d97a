"""Every setting: one frozen value, made in main from flags and `SEMSERVE_…` variables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter
from cyclopts.validators import Number

MODELS = Group("Models", sort_key=1)
NETWORK = Group("Network", sort_key=2)
COMPUTE = Group("Compute and batching", sort_key=3)
LIMITS = Group("Limits", sort_key=4)
CONNECTIONS = Group("Connections", sort_key=5)
SECURITY = Group("Security", sort_key=6)
OPERATION = Group("Operation", sort_key=7)
OBSERVATION = Group("Observability", sort_key=8)
Frontend: TypeAlias = Literal["completion-queue", "aio"]

# 0 means "no limit", "never" or "the server chooses"; the help of each flag says which. A flag for
# which none of these makes sense refuses 0.
_Count = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000_000))]
_Seconds = Annotated[float, Parameter(validator=Number(gte=0, lte=86_400))]
_Bytes = Annotated[int, Parameter(validator=Number(gte=1, lte=2**50))]
_SomeSeconds = Annotated[float, Parameter(validator=Number(gt=0, lte=86_400))]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one server."""

    models: Annotated[Path, Parameter(group=MODELS)] = Path("models")
    """Directory of bundles, or one bundle. The server serves every bundle of the directory."""

    default_embedder: Annotated[str, Parameter(group=MODELS)] = "minilm-l6-v2"
    """Model for embedding requests that name no model, if several embedding models are loaded."""

    default_classifier: Annotated[str, Parameter(group=MODELS)] = "nli-minilm"
    """Model for classification requests that name no model, if several classifiers are loaded."""

    default_scorer: Annotated[str, Parameter(group=MODELS)] = ""
    """Model for Score and Rerank requests that name no model, if several score models are
    loaded. Empty: none."""

    default_sparse_embedder: Annotated[str, Parameter(group=MODELS)] = ""
    """Model for EmbedSparse requests that name no model, if several sparse embedders are loaded.
    Empty: none."""

    echo: Annotated[int, Parameter(group=MODELS, validator=Number(gte=0, lte=65_536))] = 0
    """Serve no bundle, only a model `echo` with this many dimensions that computes nothing. It
    measures the throughput of everything but the model. 0: never, serve the bundles."""

    address: Annotated[str, Parameter(group=NETWORK, env_var="SEMSERVE_LISTEN")] = "127.0.0.1:50051"
    """Address to listen on: HOST:PORT, or unix:PATH for a Unix socket. Port 0 takes a free port.
    Without SEMSERVE_LISTEN, this release also reads SEMSERVE_ADDRESS, which is the client's
    variable."""

    processes: Annotated[int, Parameter(group=NETWORK, validator=Number(gte=1, lte=256))] = 1
    """Server processes that share the address. Use more than one if one Python interpreter cannot
    keep up with many small calls. The kernel distributes connections over the processes, so a
    client needs several connections. The processes divide the CPUs and the rates of API keys. All
    other limits hold for each process."""

    frontend: Annotated[Frontend, Parameter(group=NETWORK)] = "completion-queue"
    """The gRPC server. completion-queue: on the completion queue of grpcio, with less CPU time for
    a call. aio: grpcio's asyncio server. If grpcio lacks what completion-queue needs, the server
    logs a warning and uses aio."""

    device: Annotated[str, Parameter(group=COMPUTE)] = "auto"
    """Device that models run on: auto, cpu, cuda, cuda:N, cuda:N,M or tensorrt. N and M are numbers
    of GPUs; each GPU has the models in its memory and runs batches of its own. With cuda and
    tensorrt the start fails if a library or a GPU is missing, or if a node of a model would run on
    the CPU. auto: the first GPU if CUDA is available, else the CPU; the log says which."""

    gpu_memory_limit: Annotated[
        int, Parameter(group=COMPUTE, validator=Number(gte=0, lte=2**40))
    ] = 0
    """Most bytes of memory for the runs of one model on each GPU, without its weights. A batch that
    needs more is divided. 0: no limit."""

    cuda_graphs: Annotated[bool, Parameter(group=COMPUTE, negative=())] = False
    """Record the kernels of each shape of a batch once, and start all of them together (CUDA
    graphs). It lowers the latency of small batches. Each model then has one run at a time on each
    GPU."""

    variant: Annotated[
        Literal["auto", "portable", "fused", "fp16", "int8"], Parameter(group=COMPUTE)
    ] = "auto"
    """Graph of each bundle to run; `semserve models` lists it. auto: on the CPU the fastest graph
    in fp32, whose results agree with Keras; on a GPU fp16, if the bundle has it. fp16 and int8 are
    faster and less exact; the manifest has the differences."""

    batch_workers: Annotated[int, Parameter(group=COMPUTE, validator=Number(gte=0, lte=256))] = 0
    """Worker threads of each model: how many batches of one model run at the same time. On a CPU,
    several runs of one thread each process more texts per second than one run with many threads.
    0: auto, one for each CPU; on GPUs two for each GPU, or one with --cuda-graphs."""

    intra_op_threads: Annotated[int, Parameter(group=COMPUTE, validator=Number(gte=0, lte=256))] = 0
    """Intra-op threads of a run on the CPU while no other run is active. More threads lower the
    latency of a single request, and need a second session with one more copy of the weights.
    0: auto, one for each CPU, if that is measurably faster. 1: no second session."""

    max_batch_tokens: Annotated[
        int, Parameter(group=COMPUTE, validator=Number(gte=0, lte=10_000_000))
    ] = 0
    """Most tokens of a batch. Padding counts by its measured cost. 0: auto, the largest batch that
    still raises the throughput, measured at the start."""

    cache_dir: Annotated[str, Parameter(group=COMPUTE)] = "auto"
    """Directory for optimised graphs with packed weights. The CPU sessions of all server processes
    map these files, so the weights are in memory once, and the next start is faster. Only the owner
    may have write permission. none: keep none, and pack the weights of every session in its own
    memory. auto: the directory semserve in XDG_CACHE_HOME or ~/.cache, or none if that directory is
    not usable, or in memory (tmpfs)."""

    max_cache_bytes: Annotated[_Bytes, Parameter(group=COMPUTE)] = 8_000_000_000
    """Most bytes of the graphs in --cache-dir. A graph needs about 1.5 times the bytes of its file.
    Beyond the limit, the server removes the graphs that were not used for the longest time."""

    calibration_cache: Annotated[str, Parameter(group=COMPUTE)] = "auto"
    """Directory for the measurements of each bundle. The next start on the same CPU reads them,
    measures nothing and chooses the same batches. Only the owner may have write permission. none:
    measure at every start. auto: the directory of --cache-dir."""

    max_queue_entries: Annotated[_Count, Parameter(group=LIMITS)] = 16_384
    """Most texts in the queue of one model. Requests beyond it get RESOURCE_EXHAUSTED."""

    max_queue_tokens: Annotated[_Count, Parameter(group=LIMITS)] = 4_194_304
    """Most tokens in the queue of one model. Requests beyond it get RESOURCE_EXHAUSTED, except a
    single larger request while the queue is empty."""

    max_queue_characters: Annotated[_Count, Parameter(group=LIMITS)] = 16_777_216
    """Most characters in the queue of one model's tokenizer. Requests beyond it get
    RESOURCE_EXHAUSTED."""

    max_request_texts: Annotated[_Count, Parameter(group=LIMITS)] = 2048
    """Most texts of one request, over all of its fields. A pair to classify counts as one."""

    max_request_scores: Annotated[_Count, Parameter(group=LIMITS)] = 1_048_576
    """Most scores of one Matrix, Search, Rank or Compare request: left texts times right texts, or
    queries times corpus."""

    max_queue_scores: Annotated[_Count, Parameter(group=LIMITS)] = 8_388_608
    """Most scores of all requests that wait to be computed. Requests beyond it get
    RESOURCE_EXHAUSTED. One thread computes the scores and writes the replies of EmbedSparse, in
    which each text counts as one score."""

    max_tokenize_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 1_048_576
    """Most UTF-8 bytes of all texts of one Tokenize request. The reply has about 15 bytes for each
    token, and a token can be a single character."""

    max_text_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 65_536
    """Most UTF-8 bytes of one text. A long text takes time to tokenise even if truncation drops
    most of it."""

    max_message_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 4_194_304
    """Most bytes of one request message. gRPC answers larger messages with RESOURCE_EXHAUSTED."""

    max_stream_requests: Annotated[_Count, Parameter(group=LIMITS)] = 64
    """Most messages of one stream in flight. At the limit the server stops reading the stream."""

    max_stream_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 33_554_432
    """Most bytes of the messages of one stream in flight. At the limit the server stops reading the
    stream."""

    max_unread_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 268_435_456
    """Most bytes of memory for replies that clients have not read yet, and for their requests. At
    the limit the server stops reading streams, and other calls get RESOURCE_EXHAUSTED before they
    are computed. One connection can hold at most half of it."""

    max_stream_unread_bytes: Annotated[_Count, Parameter(group=LIMITS)] = 16_777_216
    """Most bytes of memory for the unread replies of one stream. At the limit the server stops
    reading the stream. A stream can always hold one reply."""

    max_calls: Annotated[_Count, Parameter(group=LIMITS)] = 16_384
    """Most concurrent calls, including streams and health watches. Calls beyond it get
    RESOURCE_EXHAUSTED."""

    max_connections: Annotated[_Count, Parameter(group=LIMITS)] = 4096
    """Most connections at a time. The server closes connections beyond it at once. Each connection
    needs an open file, so `ulimit -n` is a limit too."""

    max_connection_calls: Annotated[_Count, Parameter(group=LIMITS)] = 1024
    """Most concurrent calls of one connection, including streams. Calls beyond it wait in the
    client."""

    handshake_timeout: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 10.0
    """Most seconds for the TLS and HTTP/2 handshakes of a new connection. 0: no limit."""

    max_connection_idle: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 900.0
    """Close a connection after this many seconds without a call. Clients reconnect by themselves.
    0: never."""

    max_connection_age: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 0.0
    """Ask the client to close a connection after this many seconds, plus or minus 10 %, so that
    clients find new replicas. 0: never."""

    max_connection_age_grace: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 60.0
    """Seconds for the calls of a connection after --max-connection-age. 0: no limit."""

    keepalive_time: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 60.0
    """Ping a client after this many seconds without data from it. 0: never. Clients may send pings
    every 10 seconds; the server disconnects a client that pings more often (GOAWAY,
    too_many_pings)."""

    keepalive_timeout: Annotated[_Seconds, Parameter(group=CONNECTIONS)] = 20.0
    """Close the connection if the client does not acknowledge a keepalive ping within this many
    seconds. 0: no limit."""

    tls_certificate: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """PEM file with the server's certificate and its intermediate certificates. The server reloads
    the file when it changes. Without it, connections are not encrypted."""

    tls_key: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """PEM file with the private key of the certificate, not encrypted."""

    tls_client_ca: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """PEM file with certificate authorities. With it, a client needs a certificate of one of them
    (mutual TLS)."""

    api_key_file: Annotated[Path | None, Parameter(group=SECURITY)] = None
    """File with the API keys that may call the server, made by `semserve-server key`. The server
    reloads the file when it changes. Without it, calls need no key."""

    auth_exempt_health: Annotated[bool, Parameter(group=SECURITY)] = True
    """Answer health checks without an API key."""

    auth_exempt_reflection: Annotated[bool, Parameter(group=SECURITY)] = False
    """Answer server reflection, which shows the schema, without an API key."""

    open_inference: Annotated[bool, Parameter(group=OPERATION)] = False
    """Also serve the Open Inference Protocol (inference.GRPCInferenceService), for clients of
    KServe and Triton."""

    text_embeddings_inference: Annotated[bool, Parameter(group=OPERATION)] = False
    """Also serve the API of text-embeddings-inference (tei.v1), for clients that switch by changing
    the address."""

    openai_embeddings: Annotated[bool, Parameter(group=OPERATION)] = False
    """Also serve the embeddings API of OpenAI (openai.v1.Embeddings), which a transcoder such as
    Envoy offers as POST /v1/embeddings."""

    allow_model_control: Annotated[bool, Parameter(group=OPERATION)] = False
    """Let clients load and unload the bundles of --models with LoadModel and UnloadModel."""

    reload_interval: Annotated[_Seconds, Parameter(group=OPERATION)] = 0.0
    """Seconds between scans of --models for new and changed bundles. The server loads them while it
    serves the old ones. 0: never, only at SIGHUP."""

    load_timeout: Annotated[_Seconds, Parameter(group=OPERATION)] = 600.0
    """Most seconds to load one bundle. At the start the server then exits with code 2. Later the
    server rejects the bundle and abandons the load. 0: no limit."""

    stall_timeout: Annotated[_Seconds, Parameter(group=OPERATION)] = 5.0
    """Report NOT_SERVING after this many seconds without progress of a run or of the event loop,
    until there is progress. Checked every second. 0: never."""

    run_timeout: Annotated[_Seconds, Parameter(group=OPERATION)] = 60.0
    """Most seconds of a run. If a run takes longer, the process exits with code 1, so that its
    supervisor starts another. 0: no limit."""

    drain_delay: Annotated[_Seconds, Parameter(group=OPERATION)] = 0.5
    """Seconds between reporting NOT_SERVING and refusing new calls. Load balancers notice in this
    time, and the server starts the calls that have arrived, which gRPC would cancel. 0: never,
    there is no delay."""

    drain_timeout: Annotated[_SomeSeconds, Parameter(group=OPERATION)] = 20.0
    """Most seconds to finish admitted work after SIGTERM and --drain-delay. The sum of both, and
    5 s for the exit, must be less than the time before your supervisor sends SIGKILL: 30 s in
    Kubernetes (terminationGracePeriodSeconds). 0 is refused."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Parameter(group=OBSERVATION)
    ] = "info"
    """Lowest severity to log. The log goes to standard error."""

    log_format: Annotated[Literal["text", "json"], Parameter(group=OBSERVATION)] = "text"
    """text: lines for people. json: one JSON object a line, for log collectors."""

    access_log: Annotated[bool, Parameter(group=OBSERVATION)] = False
    """Log each request: its RPC, status and duration, never its texts."""

    metrics_address: Annotated[str, Parameter(group=OBSERVATION)] = ""
    """HOST:PORT for http://HOST:PORT/metrics, which Prometheus reads. Port 0 takes a free port.
    Without it there are no metrics. The endpoint has no authentication: do not expose it. With
    several processes, each has a port of its own, counted up from this one."""

    otlp_endpoint: Annotated[str, Parameter(group=OBSERVATION)] = ""
    """URL of an OpenTelemetry collector that accepts OTLP over gRPC, such as http://127.0.0.1:4317.
    The server sends a span for each request. Needs semserve-server[otel]. The `OTEL_…` variables
    of the SDK apply too."""

    trace_sample_ratio: Annotated[
        float, Parameter(group=OBSERVATION, validator=Number(gte=0, lte=1))
    ] = 1.0
    """Share of requests to trace, from 0 to 1, if the caller's `traceparent` does not decide.
    0: never."""
