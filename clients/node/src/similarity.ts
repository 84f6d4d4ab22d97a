// Texts compared by the vectors of a model.

import type { CallOptions } from "./connection.js";
import type { Hit as WireHit } from "./gen/semserve/v1/similarity_pb.js";
import type { Usage as WireUsage } from "./gen/semserve/v1/common_pb.js";
import { given, metrics, usage, type Metric, type Usage } from "./values.js";

/** What every call of a model may say. */
export interface ModelOptions extends CallOptions {
  /** The model to ask; without it the server's default answers. */
  readonly model?: string;
}

/** What all calls that compare by vectors may ask for. */
export interface SimilarityOptions extends ModelOptions {
  /** How vectors make a score; without it as the model has it. */
  readonly metric?: Metric;
  /** Name of the prompt to put before each text; `""`: none; left out: the model's default. */
  readonly prompt?: string;
}

/** What `compare` and `matrix` may ask for. */
export interface CompareOptions extends SimilarityOptions {
  /** Name of the prompt of right texts, where it is another than `prompt`. */
  readonly rightPrompt?: string;
}

/** What `rank` and `search` may ask for. */
export interface RankOptions extends SimilarityOptions {
  /** Name of the prompt of documents and of the corpus, where it is another than `prompt`. */
  readonly documentPrompt?: string;
  /** Answers with only the best so many; without it `rank` gives all, and `search` ten. */
  readonly topK?: number;
}

/** Two texts to compare, or to score together. */
export interface ComparePair {
  readonly left: string;
  readonly right: string;
}

/** One text that was found. */
export interface Hit {
  /** Its place, from 0, in the documents or the corpus of the request. */
  readonly index: number;
  /** Higher is more similar. */
  readonly score: number;
}

/** What the texts of a request score. `T` is a list of scores or of hits, or a list of such lists. */
export interface Scored<T> {
  /** Name of the model that answered. */
  readonly model: string;
  /** The scores, or the hits, in the order that the method names. */
  readonly scores: T;
  /** What the request cost. */
  readonly usage: Usage;
  /** Tokens that truncation dropped from all texts. */
  readonly truncatedTokens: number;
}

/** The part that all answers with scores have. */
interface ScoredAnswer {
  readonly model: string;
  readonly usage?: WireUsage | undefined;
  readonly truncatedTokens: number;
}

export function scored<T>(answer: ScoredAnswer, scores: T): Scored<T> {
  const { model, truncatedTokens } = answer;
  return { model, scores, usage: usage(answer.usage), truncatedTokens };
}

export function compared(options: CompareOptions) {
  return { ...shared(options), ...given({ rightPromptName: options.rightPrompt }) };
}

export function ranked(options: RankOptions) {
  return { ...shared(options), ...given({ documentPromptName: options.documentPrompt, topK: options.topK }) };
}

export function hits(found: readonly WireHit[]): Hit[] {
  return found.map(({ index, score }) => ({ index, score }));
}

function shared(options: SimilarityOptions) {
  return { model: options.model ?? "", metric: metrics(options.metric), ...given({ promptName: options.prompt }) };
}
