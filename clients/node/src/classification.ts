// Pairs of texts to labels.

import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "./connection.js";
import { missing } from "./embedding.js";
import { fromProto, type SemserveError } from "./errors.js";
import {
  ClassifyRequestSchema,
  StreamClassifyRequestSchema,
  type ClassifyResponse,
  type StreamClassifyResponse,
} from "./gen/semserve/v1/classification_pb.js";
import { truncations, usage, type Truncation, type Usage } from "./values.js";
import { checkStrings } from "./wellformed.js";

/** A premise and a hypothesis; the premise alone for a classifier of single texts. */
export interface ClassifyPair {
  readonly premise: string;
  readonly hypothesis?: string;
}

/** What `classify` and `streamClassify` may ask for. */
export interface ClassifyOptions extends CallOptions {
  /** The model to ask; without it the server's default answers. */
  readonly model?: string;
  /** What to do with pairs of too many tokens; without it as the model does. */
  readonly truncation?: Truncation;
  /** Answers the good pairs even where others are bad: the bad ones carry an error of their own. */
  readonly partial?: boolean;
}

/** A label with its probability. */
export interface LabelScore {
  readonly label: string;
  /** From 0 to 1. */
  readonly score: number;
}

/** The outcome of one pair: without an error it has a label. */
export interface Classification {
  /** The label of the highest score; empty where there is an error. */
  readonly label: string;
  /** Every label with its score, in the order of the model's labels. */
  readonly scores: readonly LabelScore[];
  /** The model's raw outputs in the same order. */
  readonly logits: readonly number[];
  /** Why the pair has no label; never set without `partial`. */
  readonly error?: SemserveError;
  /** Tokens of the pair, special tokens included, after truncation. */
  readonly tokenCount: number;
  /** Tokens that truncation dropped. */
  readonly truncatedTokens: number;
}

/** The answer to a request to classify. */
export interface Classifications {
  /** Name of the model that answered. */
  readonly model: string;
  /** One a pair, in the order of the pairs. */
  readonly results: readonly Classification[];
  /** What the request cost. */
  readonly usage: Usage;
}

export function classifyRequest(
  pairs: readonly ClassifyPair[],
  options: ClassifyOptions,
): MessageInitShape<typeof ClassifyRequestSchema> {
  return {
    model: options.model ?? "",
    pairs: pairs.map(({ premise, hypothesis }) => ({ premise, ...(hypothesis === undefined ? {} : { hypothesis }) })),
    truncation: truncations(options.truncation),
    allowPartial: options.partial ?? false,
  };
}

export function writeClassify(name: string, pairs: readonly ClassifyPair[], options: ClassifyOptions): Uint8Array {
  const request = create(ClassifyRequestSchema, classifyRequest(pairs, options));
  checkStrings(request);
  return toBinary(StreamClassifyRequestSchema, create(StreamClassifyRequestSchema, { id: name, request }));
}

export function readClassify(
  answer: StreamClassifyResponse,
): { name: string; result?: Classifications; error?: SemserveError } {
  const { id: name, outcome } = answer;
  if (outcome.case === "response") {
    return { name, result: classifications(outcome.value) };
  }
  return { name, error: fromProto(outcome.value ?? missing()) };
}

export function classifications(answer: ClassifyResponse): Classifications {
  return {
    model: answer.model,
    results: answer.results.map(({ outcome, tokenCount, truncatedTokens }) => {
      const counts = { tokenCount, truncatedTokens };
      if (outcome.case !== "classification") {
        return { label: "", scores: [], logits: [], error: fromProto(outcome.value ?? missing()), ...counts };
      }
      const { label, scores, logits } = outcome.value;
      return { label, scores: scores.map(({ label, score }) => ({ label, score })), logits, ...counts };
    }),
    usage: usage(answer.usage),
  };
}
