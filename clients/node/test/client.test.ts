import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import type { ServerDuplexStream, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { Client, SemserveError, type Answer, type Embeddings, type Request } from "../src/index.js";
import {
  EmbeddingService, EmbedResponseSchema, EmbedSparseResponseSchema, GetServerInfoResponseSchema, ListModelsResponseSchema,
  ModelService, ModelState, RerankResponseSchema, ScoreFunction, ScoreResponseSchema, ScoreService, Side, SimilarityService,
  RankResponseSchema, StreamEmbedResponseSchema, Task, VectorEncoding,
} from "../src/v1.js";
import type { EmbedRequest, StreamEmbedRequest } from "../src/v1.js";
import { refusal, serving } from "./scripted.js";

type Reply = sendUnaryData<any>;
type Call = ServerUnaryCall<any, any>;
type Stream = ServerDuplexStream<StreamEmbedRequest, any>;

/** A vector that tells its text: the length, and 1. */
function embedded(request: EmbedRequest) {
  return create(EmbedResponseSchema, {
    model: "scripted",
    results: request.texts.map((text) => ({ outcome: { case: "embedding" as const, value: { values: [text.length, 1] } } })),
  });
}

function answered({ id, request }: StreamEmbedRequest) {
  return create(StreamEmbedResponseSchema, { id, outcome: { case: "response", value: embedded(request as EmbedRequest) } });
}

function code(expected: string) {
  return (error: unknown) => error instanceof SemserveError && error.code === expected;
}

test("a call waits as long as the server asks, and is then answered", async () => {
  let calls = 0;
  const embed = (call: Call, reply: Reply) =>
    ++calls === 1
      ? reply(refusal("RESOURCE_EXHAUSTED", "full", { "grpc-retry-pushback-ms": "1" }))
      : reply(null, embedded(call.request));
  await serving(EmbeddingService, { embed }, async (client) => {
    deepStrictEqual(Float32Array.of(3, 1), (await client.embed(["abc"])).results[0]?.vector);
  });
  strictEqual(2, calls);
});

test("a call whose wait would pass its deadline fails at once with what the server said", async () => {
  let calls = 0;
  const embed = (_: Call, reply: Reply) => {
    calls++;
    reply(refusal("RESOURCE_EXHAUSTED", "full", { "grpc-retry-pushback-ms": "60000" }));
  };
  await serving(EmbeddingService, { embed }, async (client) => {
    await rejects(client.embed(["a"], { timeoutMs: 20_000 }), code("RESOURCE_EXHAUSTED"));
  });
  strictEqual(1, calls);
});

test("a server that asks not to be tried again is not, and a message over a limit is no overload", async () => {
  const said: [object, string][] = [
    [refusal("RESOURCE_EXHAUSTED", "full", { "grpc-retry-pushback-ms": "-1" }), "RESOURCE_EXHAUSTED"],
    [refusal("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)"), "INVALID_ARGUMENT"],
  ];
  for (const [failure, expected] of said) {
    let calls = 0;
    const embed = (_: Call, reply: Reply) => {
      calls++;
      reply(failure);
    };
    await serving(EmbeddingService, { embed }, async (client) => {
      await rejects(client.embed(["a"]), code(expected));
    });
    strictEqual(1, calls);
  }
});

test("a call carries its options, the key and the metadata", async () => {
  let seen: Call | undefined;
  const embed = (call: Call, reply: Reply) => {
    seen = call;
    reply(null, embedded(call.request));
  };
  await serving(
    EmbeddingService,
    { embed },
    async (client) => {
      await client.embed(["a"], {
        model: "m", normalize: false, dimensions: 8, truncation: "start", encoding: "int8", partial: true,
        prompt: "", side: "right", metadata: { "x-request-id": "17" },
      });
    },
    { key: " secret\n" },
  );
  const { $typeName: _, texts, promptName, side, encoding, normalize, dimensions, allowPartial } = seen?.request;
  deepStrictEqual(
    [["a"], "", Side.RIGHT, VectorEncoding.INT8, false, 8, true],
    [texts, promptName, side, encoding, normalize, dimensions, allowPartial],
  );
  deepStrictEqual([["Bearer secret"], ["17"]], ["authorization", "x-request-id"].map((name) => seen?.metadata.get(name)));
});

test("text that is not valid Unicode is refused with its fields, and nothing is sent", async () => {
  await serving(EmbeddingService, {}, async (client) => {
    await rejects(client.embed(["fine 🥐", "half a \ud83d"]), (error) => {
      ok(error instanceof SemserveError);
      deepStrictEqual(["texts[1]"], error.violations.map(({ field }) => field));
      return error.code === "INVALID_ARGUMENT";
    });
  });
});

test("close ends calls in flight, and later ones fail", async () => {
  let arrived: () => void = () => {};
  const waiting = new Promise<void>((resolve) => (arrived = resolve));
  await serving(EmbeddingService, { embed: () => arrived() }, async (client) => {
    const ended = rejects(client.embed(["a"]), code("CANCELLED"));
    await waiting;
    client.close();
    await ended;
    await rejects(client.embed(["a"]), code("CANCELLED"));
  });
});

test("a stream goes on where the server goes away, and each request is answered once", async () => {
  let streams = 0;
  const streamEmbed = (stream: Stream) => {
    const number = ++streams;
    let taken = 0;
    stream.on("data", (message: StreamEmbedRequest) => {
      if (number <= 2 && ++taken === 2) {
        stream.emit("error", refusal("UNAVAILABLE", "stopping"));
      } else if (number > 2 || taken < 2) {
        stream.write(answered(message));
      }
    });
    stream.on("end", () => stream.end());
  };
  await serving(EmbeddingService, { streamEmbed }, async (client) => {
    const answers = await collect(client.streamEmbed(requests(20)));
    deepStrictEqual(Array.from({ length: 20 }, (_, place) => place), answers.map(({ id }) => Number(id)).sort((a, b) => a - b));
    for (const { id, result } of answers) {
      deepStrictEqual(Float32Array.of(Number(id) + 1, 1), result?.results[0]?.vector);
    }
  });
  strictEqual(3, streams);
});

test("a stream that breaks too often, or for good, ends with its error", async () => {
  for (const name of ["UNAVAILABLE", "PERMISSION_DENIED"] as const) {
    const streamEmbed = (stream: Stream) => stream.emit("error", refusal(name, "no"));
    await serving(EmbeddingService, { streamEmbed }, async (client) => {
      await rejects(collect(client.streamEmbed(requests(3))), code(name));
    });
  }
});

test("an error of the caller's own requests ends the stream and is thrown", async () => {
  const streamEmbed = (stream: Stream) => {
    stream.on("data", (message: StreamEmbedRequest) => stream.write(answered(message)));
    stream.on("end", () => stream.end());
  };
  async function* source(): AsyncGenerator<Request<string>> {
    yield* requests(2);
    throw new TypeError("no more lines");
  }
  await serving(EmbeddingService, { streamEmbed }, async (client) => {
    await rejects(collect(client.streamEmbed(source())), new TypeError("no more lines"));
  });
});

test("a stream without a reader reads no more than the bound, and leaving it returns the source", async () => {
  let read = 0;
  let returned: () => void = () => {};
  const left = new Promise<void>((resolve) => (returned = resolve));
  function* source(): Generator<Request<string>> {
    try {
      for (;;) {
        yield { id: String(read++), items: ["a"] };
      }
    } finally {
      returned();
    }
  }
  const streamEmbed = (stream: Stream) => {
    stream.on("data", (message: StreamEmbedRequest) => stream.write(answered(message)));
  };
  await serving(
    EmbeddingService,
    { streamEmbed },
    async (client) => {
      for await (const answer of client.streamEmbed(source())) {
        strictEqual(undefined, answer.error);
        await client.healthy().catch(() => {}); // the server has time to answer the rest
        break;
      }
      await left;
    },
    { inFlight: 3 },
  );
  ok(read <= 5, String(read));
});

test("scores tell which pairs have none", async () => {
  const errors = [{ index: 1, error: { code: 3, message: "is empty" } }];
  const score = (call: Call, reply: Reply) => {
    deepStrictEqual(["a", "b"], [call.request.pairs[0].left, call.request.pairs[0].right]);
    reply(null, create(ScoreResponseSchema, { model: "m", scores: [0.5, NaN], errors, truncatedTokens: 4 }));
  };
  await serving(ScoreService, { score }, async (client) => {
    const found = await client.score([{ left: "a", right: "b" }, { left: "c", right: "" }], { partial: true });
    deepStrictEqual(Float32Array.of(0.5, NaN), found.scores);
    deepStrictEqual([[1, "INVALID_ARGUMENT"]], [...found.errors].map(([place, { code }]) => [place, code]));
    strictEqual(4, found.truncatedTokens);
  });
});

test("documents are reranked, and ranked with prompts", async () => {
  const hits = [{ index: 1, score: 0.5 }];
  const rerank = (call: Call, reply: Reply) => {
    deepStrictEqual([["a", "b"], 1], [call.request.documents, call.request.topK]);
    reply(null, create(RerankResponseSchema, { hits, truncatedTokens: 5 }));
  };
  await serving(ScoreService, { rerank }, async (client) => {
    const found = await client.rerank("q", ["a", "b"], { topK: 1 });
    deepStrictEqual([hits, 5], [found.scores, found.truncatedTokens]);
  });
  const rank = (call: Call, reply: Reply) => {
    deepStrictEqual(["query", "passage"], [call.request.promptName, call.request.documentPromptName]);
    reply(null, create(RankResponseSchema, { hits }));
  };
  await serving(SimilarityService, { rank }, async (client) => {
    const found = await client.rank("q", ["a", "b"], { prompt: "query", documentPrompt: "passage" });
    deepStrictEqual(hits, found.scores);
  });
});

test("sparse vectors arrive as typed arrays", async () => {
  const embedSparse = (call: Call, reply: Reply) => {
    deepStrictEqual([2, true], [call.request.topK, call.request.includeTokens]);
    reply(null, create(EmbedSparseResponseSchema, {
      results: [{ indices: [3, 7], values: [0.5, 1], tokens: ["cat", "mat"], tokenCount: 4 }, { error: { code: 3 } }],
    }));
  };
  await serving(EmbeddingService, { embedSparse }, async (client) => {
    const [good, bad] = (await client.embedSparse(["a", ""], { topK: 2, tokens: true, partial: true })).results;
    deepStrictEqual([Uint32Array.of(3, 7), Float32Array.of(0.5, 1), ["cat", "mat"]], [good?.indices, good?.values, good?.tokens]);
    strictEqual("INVALID_ARGUMENT", bad?.error?.code);
  });
});

test("the server and its models are described in words", async () => {
  const getServerInfo = (_: Call, reply: Reply) =>
    reply(null, create(GetServerInfoResponseSchema, {
      version: "0.1.0", limits: { maxMessageBytes: 4_194_304n }, defaultModels: [{ task: Task.SCORE, model: "m" }],
    }));
  const models = [{
    name: "m", task: Task.SPARSE_EMBEDDING, scores: ScoreFunction.NONE, sides: [Side.LEFT], state: ModelState.REFUSED,
    prompts: { query: "query: " }, reason: "its digest differs",
  }];
  const listModels = (_: Call, reply: Reply) => reply(null, create(ListModelsResponseSchema, { models }));
  await serving(ModelService, { getServerInfo, listModels }, async (client) => {
    const info = await client.serverInfo();
    deepStrictEqual(["0.1.0", 4_194_304, { score: "m" }], [info.version, info.limits.maxMessageBytes, info.defaultModels]);
    const [model] = await client.models();
    deepStrictEqual(
      ["sparse_embedding", "none", ["left"], "refused", { query: "query: " }, undefined],
      [model?.task, model?.scores, model?.sides, model?.state, model?.prompts, model?.metric],
    );
  });
});

test("options that cannot be honoured are refused by name", async () => {
  throws(() => new Client("localhost:1", { inFlight: 0 }), /inFlight/);
  throws(() => new Client("localhost:1", { timeoutMs: NaN }), /timeoutMs/);
  throws(() => new Client("localhost:1", { key: "half a key" }), /key/);
  const client = new Client("localhost:1");
  await rejects(client.embed(["a"], { encoding: "float64" as "float32" }), /encoding/);
  await rejects(client.compare([], { metric: "angle" as "dot" }), /metric/);
  client.close();
});

async function collect(answers: AsyncIterable<Answer<Embeddings>>): Promise<Answer<Embeddings>[]> {
  const all: Answer<Embeddings>[] = [];
  for await (const answer of answers) {
    all.push(answer);
  }
  return all;
}

function* requests(count: number): Generator<Request<string>> {
  for (let place = 0; place < count; place++) {
    yield { id: String(place), items: ["x".repeat(place + 1)] };
  }
}
