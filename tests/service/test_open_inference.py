"""The Open Inference Protocol over a real server: the same bits as our own API, and refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from conftest import InProcess, in_process
from refusals import refusal
from semserve.v1.classification_pb2 import ClassifyPair, ClassifyRequest
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.facades.registration import Facades
from semserve_server.facades.stubs.inference import grpc_service_pb2 as oip

SERVICE = "/inference.GRPCInferenceService/"
TEXTS = ["a man is eating", "two dogs run", "x"]
Call = Callable[[str, Any], Awaitable[Any]]


@pytest.fixture
async def server(tiny_models: Path) -> AsyncIterator[InProcess]:
    async with in_process(tiny_models, facades=Facades(open_inference=True)) as server:
        yield server


@pytest.fixture
def call(server: InProcess) -> Call:
    """Call a method by its name."""

    async def calling(method: str, request: Any) -> Any:
        response = getattr(oip, method + "Response")
        return await server.channel.unary_unary(
            SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )(request)

    return calling


def texts_input(name: str, texts: list[str], *, shape: list[int] | None = None) -> Any:
    return oip.ModelInferRequest.InferInputTensor(
        name=name,
        datatype="BYTES",
        shape=shape or [len(texts)],
        contents=oip.InferTensorContents(bytes_contents=[text.encode() for text in texts]),
    )


def token_input(name: str, values: np.ndarray[Any, Any]) -> Any:
    return oip.ModelInferRequest.InferInputTensor(
        name=name,
        datatype="INT64",
        shape=values.shape,
        contents=oip.InferTensorContents(int64_contents=values.ravel().tolist()),
    )


def embed(*inputs: Any, **fields: Any) -> Any:
    return oip.ModelInferRequest(model_name="tiny-embed", inputs=inputs, **fields)


def floats(response: Any, name: str) -> np.ndarray[Any, Any]:
    (place,) = (at for at, output in enumerate(response.outputs) if output.name == name)
    raw = np.frombuffer(response.raw_output_contents[place], "<f4")
    return raw.reshape(list(response.outputs[place].shape))


async def test_vectors_of_texts_are_those_of_embed_to_the_bit(
    server: InProcess, call: Call
) -> None:
    reply = await EmbeddingServiceStub(server.channel).Embed(
        EmbedRequest(model="tiny-embed", texts=TEXTS)
    )
    expected = np.array([result.embedding.values for result in reply.results], np.float32)
    for shape in ([3], [3, 1]):
        answer = await call("ModelInfer", embed(texts_input("texts", TEXTS, shape=shape), id="7"))
        assert ("tiny-embed", "1", "7") == (answer.model_name, answer.model_version, answer.id)
        np.testing.assert_array_equal(expected, floats(answer, "embedding"))


async def test_raw_contents_are_read_as_others_are(call: Call) -> None:
    plain = await call("ModelInfer", embed(texts_input("texts", TEXTS)))
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in map(str.encode, TEXTS))
    tensor = oip.ModelInferRequest.InferInputTensor(name="texts", datatype="BYTES", shape=[3])
    answer = await call("ModelInfer", embed(tensor, raw_input_contents=[raw]))
    assert plain.raw_output_contents == answer.raw_output_contents


async def test_labels_scores_and_logits_are_those_of_classify(
    server: InProcess, call: Call
) -> None:
    premises, hypotheses = TEXTS, ["a man sleeps", "dogs run", "y"]
    pairs = [
        ClassifyPair(premise=premise, hypothesis=hypothesis)
        for premise, hypothesis in zip(premises, hypotheses, strict=True)
    ]
    reply = await ClassificationServiceStub(server.channel).Classify(ClassifyRequest(pairs=pairs))
    classifications = [result.classification for result in reply.results]
    answer = await call(
        "ModelInfer",
        oip.ModelInferRequest(
            model_name="tiny-nli",
            inputs=[texts_input("hypothesis", hypotheses), texts_input("premise", premises)],
        ),
    )
    logits = np.array([classification.logits for classification in classifications], np.float32)
    np.testing.assert_array_equal(logits, floats(answer, "logits"))
    scores = np.array(
        [[score.score for score in classification.scores] for classification in classifications],
        np.float32,
    )
    np.testing.assert_array_equal(scores, floats(answer, "scores"))
    labels = b"".join(
        len(classification.label).to_bytes(4, "little") + classification.label.encode()
        for classification in classifications
    )
    assert labels == answer.raw_output_contents[0]


async def test_token_ids_give_what_keras_gave(call: Call, tiny_models: Path) -> None:
    """The golden token ids, padded into one batch, without the tokenizer of the server."""
    for model, output in (("tiny-embed", "embedding"), ("tiny-nli", "logits")):
        cases = json.loads((tiny_models / model / "golden.json").read_text())["cases"][:6]
        shape = len(cases), max(len(case["token_ids"]) for case in cases)
        columns = {name: np.zeros(shape, np.int64) for name in ("token_ids", "segment_ids")}
        columns["padding_mask"] = np.zeros(shape, np.int64)
        for row, case in enumerate(cases):
            size = len(case["token_ids"])
            columns["token_ids"][row, :size] = case["token_ids"]
            columns["segment_ids"][row, :size] = case["segment_ids"]
            columns["padding_mask"][row, :size] = 1
        described = await call("ModelMetadata", oip.ModelMetadataRequest(name=model))
        names = {tensor.name for tensor in described.inputs if tensor.datatype == "INT32"}
        inputs = [token_input(name, values) for name, values in columns.items() if name in names]
        answer = await call("ModelInfer", oip.ModelInferRequest(model_name=model, inputs=inputs))
        expected = np.array([case[output] for case in cases])
        assert 1e-5 >= np.abs(expected - floats(answer, output)).max()


async def test_a_stream_answers_each_message_and_goes_on_after_a_bad_one(
    server: InProcess, call: Call
) -> None:
    stream = server.channel.stream_stream(
        SERVICE + "ModelStreamInfer",
        request_serializer=oip.ModelInferRequest.SerializeToString,
        response_deserializer=oip.ModelStreamInferResponse.FromString,
    )()
    await stream.write(embed(texts_input("texts", ["a"]), id="good"))
    await stream.write(embed(texts_input("words", ["a"]), id="bad"))
    await stream.write(embed(texts_input("texts", ["b"]), id="again"))
    await stream.done_writing()
    answers = {response.infer_response.id: response async for response in stream}
    assert {"good", "bad", "again"} == set(answers)
    assert answers["bad"].error_message.startswith("INVALID_ARGUMENT: inputs[0].name")
    for name, text in (("good", "a"), ("again", "b")):
        assert not answers[name].error_message
        alone = await call("ModelInfer", embed(texts_input("texts", [text])))
        streamed = answers[name].infer_response.raw_output_contents
        assert alone.raw_output_contents == streamed


async def test_what_is_wrong_is_named(call: Call) -> None:
    good = texts_input("texts", ["a"])
    ids = np.array([[1, 2]])
    cases = {
        "model_name": oip.ModelInferRequest(inputs=[good]),
        "inputs": embed(),
        "inputs[0].name": embed(texts_input("words", ["a"])),
        "inputs[1].name": embed(good, good),
        "inputs[0].shape": embed(texts_input("texts", ["a"], shape=[2])),
        "inputs[0].datatype": embed(token_input("texts", ids)),
        "inputs[0].contents": embed(token_input("token_ids", np.array([[1, 10**6]]))),
        "texts[0]": embed(texts_input("texts", [""])),
        "outputs[0].name": embed(
            good, outputs=[oip.ModelInferRequest.InferRequestedOutputTensor(name="logits")]
        ),
        "parameters[priority]": embed(good, parameters={"priority": oip.InferParameter()}),
        "parameters[normalize]": embed(
            good, parameters={"normalize": oip.InferParameter(string_param="yes")}
        ),
        "raw_input_contents": embed(
            oip.ModelInferRequest.InferInputTensor(name="texts", datatype="BYTES", shape=[1]),
            raw_input_contents=[b"", b""],
        ),
        "raw_input_contents[0]": embed(
            oip.ModelInferRequest.InferInputTensor(name="texts", datatype="BYTES", shape=[1]),
            raw_input_contents=[b"\x05\x00\x00\x00ab"],
        ),
    }
    for field, request in cases.items():
        refused = await refusal(call("ModelInfer", request))
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.code, field
        assert [field] == list(refused.fields), refused
    mask = embed(token_input("token_ids", ids), token_input("padding_mask", np.array([[0, 1]])))
    assert ["inputs[1].contents"] == list((await refusal(call("ModelInfer", mask))).fields)


async def test_parameters_are_those_of_embed(server: InProcess, call: Call) -> None:
    reply = await EmbeddingServiceStub(server.channel).Embed(
        EmbedRequest(model="tiny-embed", texts=TEXTS, dimensions=3, normalize=True)
    )
    parameters = {
        "dimensions": oip.InferParameter(int64_param=3),
        "normalize": oip.InferParameter(bool_param=True),
    }
    answer = await call("ModelInfer", embed(texts_input("texts", TEXTS), parameters=parameters))
    expected = np.array([result.embedding.values for result in reply.results], np.float32)
    np.testing.assert_array_equal(expected, floats(answer, "embedding"))


async def test_the_server_its_models_and_their_readiness_are_told(call: Call) -> None:
    assert (await call("ServerLive", oip.ServerLiveRequest())).live
    assert (await call("ServerReady", oip.ServerReadyRequest())).ready
    assert (await call("ModelReady", oip.ModelReadyRequest(name="tiny-nli", version="1"))).ready
    assert not (await call("ModelReady", oip.ModelReadyRequest(name="nobody"))).ready
    assert not (await call("ModelReady", oip.ModelReadyRequest(name="tiny-nli", version="2"))).ready
    assert "semserve" == (await call("ServerMetadata", oip.ServerMetadataRequest())).name
    listed = await call("RepositoryIndex", oip.RepositoryIndexRequest(ready=True))
    assert [("tiny-embed", "READY"), ("tiny-nli", "READY")] == [
        (model.name, model.state) for model in listed.models
    ]
    described = await call("ModelMetadata", oip.ModelMetadataRequest(name="tiny-nli"))
    assert ["premise", "hypothesis"] == [tensor.name for tensor in described.inputs[:2]]
    assert {"label", "scores", "logits"} == {tensor.name for tensor in described.outputs}
    load = oip.RepositoryModelLoadRequest(model_name="tiny-nli")
    assert (
        grpc.StatusCode.PERMISSION_DENIED == (await refusal(call("RepositoryModelLoad", load))).code
    )


async def test_it_is_off_unless_it_is_asked_for(service: InProcess) -> None:
    live = service.channel.unary_unary(SERVICE + "ServerLive")(b"")
    assert grpc.StatusCode.UNIMPLEMENTED == (await refusal(live)).code


async def test_many_calls_at_once_are_each_answered_right(call: Call) -> None:
    answers = await asyncio.gather(
        *(call("ModelInfer", embed(texts_input("texts", [text]))) for text in TEXTS * 8)
    )
    together = floats(await call("ModelInfer", embed(texts_input("texts", TEXTS))), "embedding")
    for text, answer in zip(TEXTS * 8, answers, strict=True):
        difference = floats(answer, "embedding")[0] - together[TEXTS.index(text)]
        assert 1e-5 >= np.abs(difference).max()
