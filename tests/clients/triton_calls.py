"""Calls a server with Triton's own client, and prints what it answered as JSON.

Runs in the environment of tritonclient, which needs another protobuf than the tests:

    triton_calls.py HOST:PORT
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

TEXTS = ["a man is eating", "two dogs run"]


def text_input(name: str, texts: list[str]) -> triton.InferInput:
    """Make a BYTES input of shape [texts, 1], as perf_analyzer and Triton's examples do."""
    tensor = triton.InferInput(name, [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], np.object_))
    return tensor


def main(address: str) -> None:
    """Make the calls."""
    client = triton.InferenceServerClient(address)
    reported: dict[str, object] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready() and client.is_model_ready("tiny-embed"),
        "index": [one.name for one in client.get_model_repository_index().models],
        "inputs": [one.name for one in client.get_model_metadata("tiny-nli").inputs],
    }
    embed = [text_input("texts", TEXTS)]
    result = client.infer("tiny-embed", embed, request_id="7")
    reported["embedding"] = result.as_numpy("embedding").tolist()
    reported["id"] = result.get_response().id
    pairs = [text_input("premise", TEXTS), text_input("hypothesis", TEXTS)]
    wanted = [triton.InferRequestedOutput("label"), triton.InferRequestedOutput("logits")]
    result = client.infer("tiny-nli", pairs, outputs=wanted)
    reported["label"] = [one.decode() for one in result.as_numpy("label")]
    reported["logits"] = result.as_numpy("logits").tolist()
    reported["scores"] = result.as_numpy("scores")
    try:
        client.infer("tiny-embed", [text_input("words", TEXTS)])
    except InferenceServerException as error:
        reported["refused"] = [error.status(), error.message()]
    reported["stream"] = stream(client, embed)
    sys.stdout.write(json.dumps(reported))


def stream(client: triton.InferenceServerClient, inputs: list[triton.InferInput]) -> object:
    """Send three messages on a stream; returns the vectors by the messages' ids."""
    answers: queue.Queue[tuple[object, object]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for name in "abc":
        client.async_stream_infer("tiny-embed", inputs, request_id=name)
    found = {}
    for _ in "abc":
        result, error = answers.get(timeout=30)
        if error is not None:
            raise SystemExit(str(error))
        found[result.get_response().id] = result.as_numpy("embedding").tolist()
    client.stop_stream()
    return found


if __name__ == "__main__":
    main(sys.argv[1])
