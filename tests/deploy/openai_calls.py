"""Calls of the openai package, run in the environment of Envoy; prints what came back as JSON."""

import json
import sys

from openai import BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=30)
texts = json.loads(sys.argv[2])
# The package asks for base64 unless it is told otherwise, and decodes it.
packed = client.embeddings.create(model="tiny-embed", input=texts)
plain = client.embeddings.create(model="tiny-embed", input=texts[0], encoding_format="float")
told = {
    "model": packed.model,
    "indices": [one.index for one in packed.data],
    "packed": [one.embedding for one in packed.data],
    "plain": plain.data[0].embedding,
    "tokens": packed.usage.total_tokens,
    "refused": {},
}
for name, wrong, kind in (
    ("empty", {"model": "tiny-embed", "input": ""}, BadRequestError),
    ("ids", {"model": "tiny-embed", "input": [1, 2]}, BadRequestError),
    ("model", {"model": "nobody", "input": "a"}, NotFoundError),
):
    try:
        client.embeddings.create(**wrong)
    except kind as error:
        told["refused"][name] = error.response.text
sys.stdout.write(json.dumps(told))
