// The Node.js client of semserve, a gRPC server for semantic similarity.

export { Client } from "./client.js";
export type { Classification, Classifications, ClassifyOptions, ClassifyPair, LabelScore } from "./classification.js";
export { DEFAULT_TIMEOUT_MS, type CallOptions, type ClientOptions, type TlsOptions } from "./connection.js";
export type { Embedding, Embeddings, EmbedOptions, Encoding } from "./embedding.js";
export { SemserveError, type StatusCode, type Violation } from "./errors.js";
export { DEFAULT_IN_FLIGHT } from "./flight.js";
export type { ModelInfo, ModelState, ScoreFunction, ServerInfo, Task, Tokens } from "./models.js";
export type { PartialScoreOptions, RerankOptions, ScoreOptions, Scores } from "./score.js";
export type {
  CompareOptions, ComparePair, Hit, ModelOptions, RankOptions, Scored, SimilarityOptions,
} from "./similarity.js";
export type { EmbedSparseOptions, SparseEmbedding, SparseEmbeddings } from "./sparse.js";
export type { Answer, Request, Requests } from "./stream.js";
export type { Metric, Side, Truncation, Usage } from "./values.js";
export { cosine } from "./vector.js";
