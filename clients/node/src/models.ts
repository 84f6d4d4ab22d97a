// What the server serves.

import { Truncation as WireTruncation } from "./gen/semserve/v1/common_pb.js";
import { Task as WireTask, type ModelInfo as WireModelInfo } from "./gen/semserve/v1/model_pb.js";
import { Metric as WireMetric } from "./gen/semserve/v1/similarity_pb.js";
import type { Metric, Truncation } from "./values.js";

/** What a model does: texts to vectors, or texts to labels. */
export type Task = "embedding" | "classification";

/** A loaded model. Words that this client does not know are undefined. */
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
  /** Dimensions of a vector; 0 for a classifier. */
  readonly dimensions: number;
  /** How token vectors become one; empty for a classifier. */
  readonly pooling: string;
  /** Whether its vectors are of unit length. */
  readonly normalized: boolean;
  /** How its vectors are compared unless a request says otherwise. */
  readonly metric: Metric | undefined;
  /** A classifier's labels in the order of its outputs. */
  readonly labels: readonly string[];
  /** Whether a classifier takes pairs rather than single texts. */
  readonly takesPairs: boolean;
  /** The graph in use, such as `portable`. */
  readonly variant: string;
  /** The ONNX Runtime execution provider in use. */
  readonly provider: string;
  /** SHA-256 of the bundle's manifest in hexadecimal. */
  readonly digest: string;
  /** Why the bundle that is on the disk now was refused; empty where none was. */
  readonly reloadError: string;
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
  const { $typeName: _, $unknown: __, task, truncation, metric, ...same } = model as WireModelInfo;
  return {
    ...same,
    task: word<Task>(WireTask, task),
    truncation: word<Truncation>(WireTruncation, truncation),
    metric: word<Metric>(WireMetric, metric),
  };
}

function word<Word extends string>(names: Record<number, string>, number: number): Word | undefined {
  return number === 0 ? undefined : (names[number]?.toLowerCase() as Word | undefined);
}
