// The generated messages and services, for callers that make their own calls.

export * from "./gen/semserve/v1/classification_pb.js";
export * from "./gen/semserve/v1/common_pb.js";
export * from "./gen/semserve/v1/embedding_pb.js";
export * from "./gen/semserve/v1/model_pb.js";
export * from "./gen/semserve/v1/score_pb.js";
export * from "./gen/semserve/v1/similarity_pb.js";
