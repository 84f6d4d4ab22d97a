// Words and numbers that several calls share.

import { Side as WireSide, Truncation as WireTruncation, type Usage as WireUsage } from "./gen/semserve/v1/common_pb.js";
import { Metric as WireMetric } from "./gen/semserve/v1/similarity_pb.js";

/** What happens to a text of more tokens than the model takes: which end of it is dropped, or none. */
export type Truncation = "end" | "start" | "none";

/** Which encoder of a model reads a text, where it has one for each side of a pair. */
export type Side = "left" | "right";

/** How two vectors make a score. Higher is always more similar. */
export type Metric = "cosine" | "dot" | "euclidean" | "manhattan";

/** What a request cost, in tokens. */
export interface Usage {
  /** Tokens of the request's own texts. */
  readonly tokenCount: number;
  /** What was computed for them, their batches' padding included. */
  readonly paddedTokenCount: number;
}

const truncationOf: Record<Truncation, WireTruncation> = {
  end: WireTruncation.END,
  start: WireTruncation.START,
  none: WireTruncation.NONE,
};

const sideOf: Record<Side, WireSide> = { left: WireSide.LEFT, right: WireSide.RIGHT };

const metricOf: Record<Metric, WireMetric> = {
  cosine: WireMetric.COSINE,
  dot: WireMetric.DOT,
  euclidean: WireMetric.EUCLIDEAN,
  manhattan: WireMetric.MANHATTAN,
};

export function truncations(word: Truncation | undefined): WireTruncation {
  return word === undefined ? WireTruncation.UNSPECIFIED : known(truncationOf, word, "truncation");
}

export function sides(word: Side | undefined): WireSide {
  return word === undefined ? WireSide.UNSPECIFIED : known(sideOf, word, "side");
}

export function metrics(word: Metric | undefined): WireMetric {
  return word === undefined ? WireMetric.UNSPECIFIED : known(metricOf, word, "metric");
}

/** Gives the words that are said, and leaves out the others, so that protobuf leaves them unset. */
export function given<Values extends object>(values: Values): { [Name in keyof Values]?: Exclude<Values[Name], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

/** Gives what a word stands for; a caller without TypeScript may have written another. */
export function known<Word extends string, Value>(words: Record<Word, Value>, word: Word, name: string): Value {
  if (!Object.hasOwn(words, word)) {
    throw new RangeError(`${name} is ${JSON.stringify(word)}, not one of ${Object.keys(words).join(", ")}`);
  }
  return words[word];
}

export function usage(message: WireUsage | undefined): Usage {
  return {
    tokenCount: Number(message?.tokenCount ?? 0n),
    paddedTokenCount: Number(message?.paddedTokenCount ?? 0n),
  };
}
