// The Node.js client of semserve, a gRPC server for semantic similarity.

export { Client } from "./client.js";
export type { CompareOptions, ComparePair, Hit, ModelOptions, RankOptions } from "./client.js";
export type { Classification, Classifications, ClassifyOptions, ClassifyPair, LabelScore } from "./classification.js";
export { DEFAULT_TIMEOUT_MS, type CallOptions, type ClientOptions, type TlsOptions } from "./connection.js";
export type { Embedding, Embeddings, EmbedOptions, Encoding } from "./embedding.js";
export { SemserveError, type StatusCode, type Violation } from "./errors.js";
export { DEFAULT_IN_FLIGHT } from "./flight.js";
export type { ModelInfo, Task, Tokens } from "./models.js";
export type { Answer, Request, Requests } from "./stream.js";
export type { Metric, Truncation, Usage } from "./values.js";
export { cosine } from "./vector.js";
