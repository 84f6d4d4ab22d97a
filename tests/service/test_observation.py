"""A real server with metrics, traces and logs on: what it tells of the calls that it was sent."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
from conftest import ROOT, SERVING, start_server, wait_for_line
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.errors import Cause

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
UNWANTED = "1af7651916cd43dd8448eb211c80319c"
PRIVATE = "nobody-may-read-this"
EMBED = "semserve.v1.EmbeddingService/Embed"
STREAM = "semserve.v1.EmbeddingService/StreamEmbed"


class Collector(TraceServiceServicer):
    """What an OpenTelemetry collector is to a server: it takes spans."""

    def __init__(self) -> None:
        self.services: set[str] = set()
        self.spans: list[Span] = []

    def Export(  # noqa: N802  (OTLP's own name)
        self, request: ExportTraceServiceRequest, _context: object
    ) -> ExportTraceServiceResponse:
        for resource in request.resource_spans:
            self.services |= {
                attribute.value.string_value
                for attribute in resource.resource.attributes
                if attribute.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return ExportTraceServiceResponse()


@dataclass
class Observed:
    """All that a server told of itself, from its start to its end."""

    collector: Collector = field(default_factory=Collector)
    trailers: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each call, by what the test calls it."""
    metrics: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)

    def of_request(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("request_id") == name]


@pytest.fixture(scope="module")
def observed(tiny_models: Path) -> Iterator[Observed]:
    reported = Observed()
    collecting = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(reported.collector, collecting)
    port = collecting.add_insecure_port("127.0.0.1:0")
    collecting.start()
    process = start_server(
        "--models", str(tiny_models), "--metrics-address", "127.0.0.1:0",
        "--otlp-endpoint", f"http://127.0.0.1:{port}", "--trace-sample-ratio", "0",
        "--log-format", "json", "--log-level", "debug", "--access-log", "--drain-delay", "0",
    )  # fmt: skip
    try:
        output: list[str] = []
        line = wait_for_line(process, output)
        url = next(
            re.findall(r"http://\S+/metrics", line)[0] for line in output if "/metrics" in line
        )
        address = line.split(SERVING)[1].split(": ")[0]
        with grpc.insecure_channel(address) as channel:
            _call(EmbeddingServiceStub(channel), reported)
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  (our own)
            reported.metrics = answer.read().decode()
        process.send_signal(signal.SIGTERM)
        reported.lines = [
            json.loads(line) for line in (*output, *process.communicate(timeout=30)[1].splitlines())
        ]
        assert 0 == process.returncode
        yield reported
    finally:
        process.kill()
        process.communicate()
        collecting.stop(0).wait()


def _call(stub: EmbeddingServiceStub, observed: Observed) -> None:
    """Send calls of which each shows something."""

    def embed(name: str, text: str, *metadata: tuple[str, str]) -> None:
        try:
            call = stub.Embed.with_call(EmbedRequest(texts=[text]), metadata=metadata)[1]
        except grpc.RpcError as error:
            call = error
        observed.trailers[name] = dict(call.trailing_metadata())

    traced = ("traceparent", f"00-{TRACE}-{PARENT}-01")
    embed("traced", f"a {PRIVATE} cat", traced, ("x-request-id", "order-17"))
    embed("untraced", "a cat", ("traceparent", f"00-{UNWANTED}-{PARENT}-00"))
    embed("odd", "a cat", ("x-request-id", "17 or 18"))
    embed("long", "a cat", ("x-request-id", "x" * 129))
    embed("bad", f"{PRIVATE}\0", traced, ("x-request-id", "order-18"))
    messages = [StreamEmbedRequest(request=EmbedRequest(texts=[text])) for text in ("a cat", "")]
    stream = stub.StreamEmbed(iter(messages), metadata=[traced, ("x-request-id", "order-19")])
    assert 2 == len(list(stream))
    observed.trailers["stream"] = dict(stream.trailing_metadata())


def test_a_callers_request_id_comes_back_and_stands_in_the_logs(observed: Observed) -> None:
    for call, name in {"traced": "order-17", "bad": "order-18", "stream": "order-19"}.items():
        assert name == observed.trailers[call]["x-request-id"]
    (line,) = observed.of_request("order-17")
    assert "semserve_server.access" == line["logger"]
    assert f"{EMBED} OK" == line["message"]
    assert ("tiny-embed", 1) == (line["model"], line["texts"])
    assert line["duration_ms"] > 0
    (line,) = observed.of_request("order-18")
    assert f"{EMBED} INVALID_ARGUMENT" == line["message"]


def test_messages_of_a_stream_are_told_apart(observed: Observed) -> None:
    messages = [f"{STREAM} OK", f"{STREAM} INVALID_ARGUMENT"]
    for number, message in enumerate(messages, start=1):
        (line,) = observed.of_request(f"order-19/{number}")
        assert message == line["message"]


def test_an_id_that_is_not_plain_or_short_is_replaced(observed: Observed) -> None:
    for call in ("untraced", "odd", "long"):
        name = observed.trailers[call]["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", name)
        assert observed.of_request(name)


def test_a_traced_call_is_a_span_of_its_callers_trace_with_its_stages(observed: Observed) -> None:
    spans = observed.collector.spans
    assert {"semserve"} == observed.collector.services
    assert {TRACE} == {span.trace_id.hex() for span in spans}
    (call,) = (span for span in spans if attribute(span, "semserve.request_id") == "order-17")
    assert (EMBED, Span.SPAN_KIND_SERVER, PARENT) == (
        call.name, call.kind, call.parent_span_id.hex(),
    )  # fmt: skip
    assert "tiny-embed" == attribute(call, "semserve.model")
    assert "OK" == attribute(call, "rpc.response.status_code")
    stages = [span for span in spans if span.parent_span_id == call.span_id]
    stages.sort(key=lambda span: span.start_time_unix_nano)
    assert ["tokenize", "queue", "compute"] == [span.name for span in stages]
    times = [call.start_time_unix_nano]
    for span in stages:
        assert span.start_time_unix_nano < span.end_time_unix_nano
        times += [span.start_time_unix_nano, span.end_time_unix_nano]
    assert times == sorted(times)
    assert times[-1] <= call.end_time_unix_nano


def test_each_message_of_a_traced_stream_is_a_span(observed: Observed) -> None:
    reported = {
        attribute(span, "semserve.request_id"): attribute(span, "rpc.response.status_code")
        for span in observed.collector.spans
        if span.name == STREAM
    }
    assert {"order-19/1": "OK", "order-19/2": "INVALID_ARGUMENT"} == reported


def test_a_callers_mistake_is_no_error_of_the_servers_span(observed: Observed) -> None:
    for span in observed.collector.spans:
        assert Status.STATUS_CODE_UNSET == span.status.code


def test_no_text_is_told_to_anyone(observed: Observed) -> None:
    assert observed.of_request("order-17")
    for reported in (json.dumps(observed.lines), observed.metrics, str(observed.collector.spans)):
        assert PRIVATE not in reported


def test_what_prometheus_reads_tells_the_build_the_models_and_the_process(
    observed: Observed,
) -> None:
    families = {family.name: family for family in text_string_to_metric_families(observed.metrics)}
    (build,) = families["semserve_build_info"].samples
    assert {"version", "python", "grpcio"} == set(build.labels)
    models = {sample.labels["model"] for sample in families["semserve_model_info"].samples}
    assert {"tiny-embed", "tiny-nli"} == models
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    for name, family in families.items():
        if name.startswith("semserve_"):
            assert family.documentation.endswith(".")


def test_the_readme_lists_the_metrics_that_there_are(observed: Observed) -> None:
    readme = (ROOT / "server" / "README.md").read_text()
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(observed.metrics)
        if family.name.startswith("semserve_")
    }
    assert families == set(re.findall(r"`(semserve_\w+)`", readme))
    for cause in get_args(Cause):
        assert f"`{cause}`" in readme


def test_opentelemetry_is_imported_only_where_traces_are_asked_for() -> None:
    code = (
        "import sys, semserve_server.server\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_traces_without_opentelemetry_end_the_start_with_one_line() -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry.sdk'] = None\n"
        "sys.argv = ['semserve-server', '--echo', '4', '--otlp-endpoint', 'http://127.0.0.1:1']\n"
        "from semserve_server.__main__ import main\n"
        "main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert 2 == ended.returncode
    (line,) = ended.stderr.splitlines()
    assert "install semserve-server[otel]" in line


@pytest.mark.parametrize("file", ["grafana/semserve.json", "prometheus/alerts.yml"])
def test_every_query_names_metrics_and_labels_that_exist(file: str, observed: Observed) -> None:
    text = (ROOT / "server" / "deploy" / file).read_text().replace('\\"', '"')
    queries = re.findall(r'"?expr"?: (.*)', text) + re.findall(r'"query": "(label_values.*)"', text)
    samples = [
        sample
        for family in text_string_to_metric_families(observed.metrics)
        for sample in family.samples
    ]
    names = {sample.name for sample in samples}
    labels = {label for sample in samples for label in sample.labels} | {"job", "instance"}
    assert len(queries) >= 5
    for query in queries:
        named = set(re.findall(r"\b(?:semserve|process)_\w+", query))
        assert named
        assert not named - names
        used = re.findall(r"(\w+)(?:=~|!=|=)\"", query)
        for group in re.findall(r"\b(?:by|ignoring|group_left) \(([^)]*)\)", query):
            used += [label.strip() for label in group.split(",") if label]
        assert not set(used) - labels


def test_the_board_is_one_that_grafana_can_load() -> None:
    """Grafana wants a title, panels of different ids that do not overlap, and known variables."""
    text = (ROOT / "server" / "deploy" / "grafana" / "semserve.json").read_text()
    board = json.loads(text)
    assert "semserve" == board["title"]
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert 24 > max(x for x, _ in cells)
    variables = {entry["name"] for entry in board["templating"]["list"]} | {
        "__rate_interval",
        "__all",
    }
    assert variables >= set(re.findall(r"\$\{?(\w+)", text))


def attribute(span: Span, name: str) -> str:
    return next((entry.value.string_value for entry in span.attributes if entry.key == name), "")
