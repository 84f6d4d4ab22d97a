// What the server serves.

import { Side as WireSide, Truncation as WireTruncation } from "./gen/semserve/v1/common_pb.js";
import { ModelState as WireState, ScoreFunction as WireFunction, Task as WireTask } from "./gen/semserve/v1/model_pb.js";
import type { GetServerInfoResponse, ModelInfo as WireModelInfo } from "./gen/semserve/v1/model_pb.js";
import { Metric as WireMetric } from "./gen/semserve/v1/similarity_pb.js";
import type { Metric, Side, Truncation } from "./values.js";

/** What a model does: texts to vectors, to labels, to one number, or to sparse vectors. */
export type Task = "embedding" | "classification" | "score" | "sparse_embedding";

/** How a model's logits become scores; `none`: the logits themselves. */
export type ScoreFunction = "softmax" | "sigmoid" | "none";

/** What the server does with a bundle. */
export type ModelState = "loading" | "ready" | "refused" | "unloaded";

/**
 * A model. One that is not `ready` has only `name`, `state` and `reason`. Words that this client
 * does not know, and what does not apply, are undefined.
 */
export interface ModelInfo {
  /** The name that requests use. */
  readonly name: string;
  /** One line for people. */
  readonly description: string;
  readonly task: Task | undefined;
  /** Whether it answers requests of its task that name no model. */
  readonly isDefault: boolean;
  /** Most tokens of a text or pair, special tokens included. */
  readonly maxSequenceLength: number;
  /** What it does with longer ones unless a request says otherwise. */
  readonly truncation: Truncation | undefined;
  /** Dimensions of a vector, of a sparse one the size of the vocabulary; 0 for other models. */
  readonly dimensions: number;
  /** How token vectors become one; empty where it is not known. */
  readonly pooling: string;
  /** Whether its vectors are of unit length. */
  readonly normalized: boolean;
  /** How its vectors are compared unless a request says otherwise. */
  readonly metric: Metric | undefined;
  /** A classifier's labels in the order of its outputs. */
  readonly labels: readonly string[];
  /** Whether it takes pairs rather than single texts. */
  readonly takesPairs: boolean;
  /** The graph in use, such as `portable`. */
  readonly variant: string;
  /** The ONNX Runtime execution provider in use. */
  readonly provider: string;
  /** SHA-256 of the bundle's manifest in hexadecimal. */
  readonly digest: string;
  /** Why the bundle that is on the disk now was refused; empty where none was. */
  readonly reloadError: string;
  /** How its logits become scores. */
  readonly scores: ScoreFunction | undefined;
  /** Which text of a pair it reads first; empty for single texts. */
  readonly textOrder: readonly string[];
  /** Texts that may be put before each text, by their names. */
  readonly prompts: Readonly<Record<string, string>>;
  /** Name of the prompt of requests that name none; empty where there is none. */
  readonly defaultPrompt: string;
  /** The sides for which it has an encoder each; empty for most models. */
  readonly sides: readonly Side[];
  readonly state: ModelState | undefined;
  /** Why it is refused; else empty. */
  readonly reason: string;
}

/** The server: its version, its bounds of requests, and its default models. */
export interface ServerInfo {
  readonly version: string;
  readonly limits: {
    readonly maxRequestTexts: number;
    readonly maxTextBytes: number;
    readonly maxRequestScores: number;
    readonly maxTokenizeBytes: number;
    readonly maxMessageBytes: number;
    readonly maxStreamRequests: number;
    readonly maxUnreadBytes: number;
    readonly maxHits: number;
  };
  /** The model of each task that answers requests which name none. */
  readonly defaultModels: Readonly<Partial<Record<Task, string>>>;
  /** Hits of a query of `search` that sets no `topK`. */
  readonly defaultTopK: number;
  /** Whether models may be loaded and unloaded. */
  readonly allowModelControl: boolean;
}

/** How a tokenizer reads one text, special tokens included and nothing truncated. */
export interface Tokens {
  /** The tokens as written in the vocabulary. */
  readonly tokens: readonly string[];
  /** Their ids in the vocabulary. */
  readonly ids: readonly number[];
  /** Where each starts in the text, in Unicode code points from 0; 0 for special tokens. */
  readonly starts: readonly number[];
  /** Where each ends, exclusive. */
  readonly ends: readonly number[];
  /** How many of them the model would drop as too many. */
  readonly truncatedTokens: number;
}

export function modelInfo(model: WireModelInfo | undefined): ModelInfo {
  const { $typeName: _, $unknown: __, task, truncation, metric, scores, sides, state, ...same } = model as WireModelInfo;
  return {
    ...same,
    task: word<Task>(WireTask, task),
    truncation: word<Truncation>(WireTruncation, truncation),
    metric: word<Metric>(WireMetric, metric),
    scores: word<ScoreFunction>(WireFunction, scores),
    sides: sides.flatMap((side) => word<Side>(WireSide, side) ?? []),
    state: word<ModelState>(WireState, state),
  };
}

export function serverInfo(answer: GetServerInfoResponse): ServerInfo {
  const { version, limits, defaultModels, defaultTopK, allowModelControl } = answer;
  const number = (value: number | bigint | undefined) => Number(value ?? 0);
  return {
    version,
    limits: {
      maxRequestTexts: number(limits?.maxRequestTexts),
      maxTextBytes: number(limits?.maxTextBytes),
      maxRequestScores: number(limits?.maxRequestScores),
      maxTokenizeBytes: number(limits?.maxTokenizeBytes),
      maxMessageBytes: number(limits?.maxMessageBytes),
      maxStreamRequests: number(limits?.maxStreamRequests),
      maxUnreadBytes: number(limits?.maxUnreadBytes),
      maxHits: number(limits?.maxHits),
    },
    defaultModels: Object.fromEntries(defaultModels.map(({ task, model }) => [word<Task>(WireTask, task), model])),
    defaultTopK,
    allowModelControl,
  };
}

function word<Word extends string>(names: Record<number, string>, number: number): Word | undefined {
  return number === 0 ? undefined : (names[number]?.toLowerCase() as Word | undefined);
}
