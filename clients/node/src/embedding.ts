// Texts to vectors.

import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "./connection.js";
import { fromProto, type SemserveError } from "./errors.js";
import {
  EmbedRequestSchema,
  StreamEmbedRequestSchema,
  VectorEncoding,
  type EmbedResponse,
  type StreamEmbedResponse,
} from "./gen/semserve/v1/embedding_pb.js";
import { given, known, sides, truncations, usage, type Side, type Truncation, type Usage } from "./values.js";
import { unpack } from "./vector.js";
import { checkStrings } from "./wellformed.js";

/** The form in which vectors travel; they arrive as Float32Array in any case. */
export type Encoding = "values" | "float32" | "float16" | "int8";

/** What `embed` and `streamEmbed` may ask for. */
export interface EmbedOptions extends CallOptions {
  /** The model to ask; without it the server's default answers. */
  readonly model?: string;
  /** Whether to scale each vector to unit length; without it as the model does. */
  readonly normalize?: boolean;
  /** Keeps only the first so many dimensions, for models trained to be cut. */
  readonly dimensions?: number;
  /** What to do with texts of too many tokens; without it as the model does. */
  readonly truncation?: Truncation;
  /** `float32`, which is exact, unless said otherwise; `float16` and `int8` are smaller and rounded. */
  readonly encoding?: Encoding;
  /** Answers the good texts even where others are bad: the bad ones carry an error of their own. */
  readonly partial?: boolean;
  /** Name of the prompt to put before each text; `""`: none; left out: the model's default. */
  readonly prompt?: string;
  /** Which encoder reads the texts; only for a model that has one for each side. */
  readonly side?: Side;
}

/** The outcome of one text: it has either a vector or an error. */
export interface Embedding {
  readonly vector?: Float32Array;
  /** Why the text has no vector; never set without `partial`. */
  readonly error?: SemserveError;
  /** Tokens of the text, special tokens included, after truncation. */
  readonly tokenCount: number;
  /** Tokens that truncation dropped. */
  readonly truncatedTokens: number;
}

/** The answer to a request to embed. */
export interface Embeddings {
  /** Name of the model that answered. */
  readonly model: string;
  /** One a text, in the order of the texts. */
  readonly results: readonly Embedding[];
  /** What the request cost. */
  readonly usage: Usage;
}

const encodings: Record<Encoding, VectorEncoding> = {
  values: VectorEncoding.VALUES,
  float32: VectorEncoding.FLOAT32,
  float16: VectorEncoding.FLOAT16,
  int8: VectorEncoding.INT8,
};

export function embedRequest(
  texts: readonly string[],
  options: EmbedOptions,
): MessageInitShape<typeof EmbedRequestSchema> {
  const { normalize, dimensions, prompt: promptName } = options;
  return {
    model: options.model ?? "",
    texts: [...texts],
    ...given({ normalize, dimensions, promptName }),
    truncation: truncations(options.truncation),
    encoding: known(encodings, options.encoding ?? "float32", "encoding"),
    allowPartial: options.partial ?? false,
    side: sides(options.side),
  };
}

export function writeEmbed(name: string, texts: readonly string[], options: EmbedOptions): Uint8Array {
  const request = create(EmbedRequestSchema, embedRequest(texts, options));
  checkStrings(request);
  return toBinary(StreamEmbedRequestSchema, create(StreamEmbedRequestSchema, { id: name, request }));
}

export function readEmbed(answer: StreamEmbedResponse): { name: string; result?: Embeddings; error?: SemserveError } {
  const { id: name, outcome } = answer;
  if (outcome.case === "response") {
    return { name, result: embeddings(outcome.value) };
  }
  return { name, error: fromProto(outcome.value ?? missing()) };
}

export function embeddings(answer: EmbedResponse): Embeddings {
  return {
    model: answer.model,
    results: answer.results.map(({ outcome, tokenCount, truncatedTokens }) => {
      const counts = { tokenCount, truncatedTokens };
      return outcome.case === "embedding"
        ? { vector: unpack(outcome.value), ...counts }
        : { error: fromProto(outcome.value ?? missing()), ...counts };
    }),
    usage: usage(answer.usage),
  };
}

/** The status of an answer that says neither what came out nor why nothing did. */
export function missing(): Parameters<typeof fromProto>[0] {
  return { $typeName: "google.rpc.Status", code: 13, message: "the server sent an answer without an outcome", details: [] };
}
