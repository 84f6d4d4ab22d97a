// Texts to sparse vectors: a weight for each token that the model finds in, or adds to, a text.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "./connection.js";
import { fromProto, type SemserveError } from "./errors.js";
import type { EmbedSparseRequestSchema, EmbedSparseResponse } from "./gen/semserve/v1/embedding_pb.js";
import { given, truncations, usage, type Truncation, type Usage } from "./values.js";

/** What `embedSparse` may ask for. */
export interface EmbedSparseOptions extends CallOptions {
  /** The model to ask; without it the server's default answers. */
  readonly model?: string;
  /** Keeps only the largest so many weights of each text. */
  readonly topK?: number;
  /** What to do with texts of too many tokens; without it as the model does. */
  readonly truncation?: Truncation;
  /** Answers the good texts even where others are bad: the bad ones carry an error of their own. */
  readonly partial?: boolean;
  /** Name of the prompt to put before each text; `""`: none; left out: the model's default. */
  readonly prompt?: string;
  /** Whether to answer also with the tokens as they are written in the vocabulary. */
  readonly tokens?: boolean;
}

/** The outcome of one text; it has no weights where it has an error. */
export interface SparseEmbedding {
  /** Ids of tokens of the vocabulary, ascending. */
  readonly indices: Uint32Array;
  /** The weight of each, above 0. */
  readonly values: Float32Array;
  /** Each of `indices` as written in the vocabulary; empty without the option `tokens`. */
  readonly tokens: readonly string[];
  /** Why the text has no weights; never set without `partial`. */
  readonly error?: SemserveError;
  /** Tokens of the text, special tokens included, after truncation. */
  readonly tokenCount: number;
  /** Tokens that truncation dropped. */
  readonly truncatedTokens: number;
}

/** The answer to a request for sparse vectors. */
export interface SparseEmbeddings {
  /** Name of the model that answered. */
  readonly model: string;
  /** One a text, in the order of the texts. */
  readonly results: readonly SparseEmbedding[];
  /** What the request cost. */
  readonly usage: Usage;
}

export function sparseRequest(
  texts: readonly string[],
  options: EmbedSparseOptions,
): MessageInitShape<typeof EmbedSparseRequestSchema> {
  return {
    model: options.model ?? "",
    texts: [...texts],
    ...given({ topK: options.topK, promptName: options.prompt }),
    truncation: truncations(options.truncation),
    allowPartial: options.partial ?? false,
    includeTokens: options.tokens ?? false,
  };
}

export function sparseEmbeddings(answer: EmbedSparseResponse): SparseEmbeddings {
  return {
    model: answer.model,
    results: answer.results.map(({ indices, values, tokens, error, tokenCount, truncatedTokens }) => ({
      indices: Uint32Array.from(indices),
      values: Float32Array.from(values),
      tokens,
      ...(error && { error: fromProto(error) }),
      tokenCount,
      truncatedTokens,
    })),
    usage: usage(answer.usage),
  };
}
