// Pairs of texts, or single texts, to one number each.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "./connection.js";
import { fromProto, type SemserveError } from "./errors.js";
import { type ScoreRequestSchema, type ScoreResponse } from "./gen/semserve/v1/score_pb.js";
import type { ComparePair } from "./similarity.js";
import { truncations, usage, type Truncation, type Usage } from "./values.js";

/** What `score`, `scoreTexts` and `rerank` may ask for. */
export interface ScoreOptions extends CallOptions {
  /** The model to ask; without it the server's default answers. */
  readonly model?: string;
  /** What to do with pairs or texts of too many tokens; without it as the model does. */
  readonly truncation?: Truncation;
}

/** What `score` and `scoreTexts` may ask for. */
export interface PartialScoreOptions extends ScoreOptions {
  /** Answers the good pairs or texts even where others are bad, which `errors` then names. */
  readonly partial?: boolean;
}

/** What `rerank` may ask for. */
export interface RerankOptions extends ScoreOptions {
  /** Answers with only the best so many; without it all. */
  readonly topK?: number;
}

/** The answer to a request for scores. */
export interface Scores {
  /** Name of the model that answered. */
  readonly model: string;
  /** One a pair or text, in their order; NaN for each that is in `errors`. */
  readonly scores: Float32Array;
  /** Why a pair or text has no score, by its place; empty without `partial`. */
  readonly errors: ReadonlyMap<number, SemserveError>;
  /** What the request cost. */
  readonly usage: Usage;
  /** Tokens that truncation dropped from all pairs or texts. */
  readonly truncatedTokens: number;
}

export function scoreRequest(
  pairs: readonly ComparePair[],
  texts: readonly string[],
  options: PartialScoreOptions,
): MessageInitShape<typeof ScoreRequestSchema> {
  return {
    model: options.model ?? "",
    pairs: pairs.map(({ left, right }) => ({ left, right })),
    texts: [...texts],
    truncation: truncations(options.truncation),
    allowPartial: options.partial ?? false,
  };
}

export function scores(answer: ScoreResponse): Scores {
  return {
    model: answer.model,
    scores: Float32Array.from(answer.scores),
    errors: new Map(answer.errors.flatMap(({ index, error }) => (error ? [[index, fromProto(error)]] : []))),
    usage: usage(answer.usage),
    truncatedTokens: answer.truncatedTokens,
  };
}
