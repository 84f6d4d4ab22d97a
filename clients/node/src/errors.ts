// Why a call, a request of a stream or one text of a request was not answered.

import { fromBinary } from "@bufbuild/protobuf";
import { status as Code, type Metadata, type StatusObject } from "@grpc/grpc-js";
import { BadRequestSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";

/** The name of a gRPC status, such as `INVALID_ARGUMENT`. */
export type StatusCode = Exclude<keyof typeof Code, "OK">;

/** One field that the server refused. */
export interface Violation {
  /** Its path in the request, such as `texts[3]` or `pairs[0].hypothesis`. */
  readonly field: string;
  /** What is wrong with it. */
  readonly description: string;
}

/**
 * A call, a request of a stream or one text failed.
 *
 * The code tells what to do. INVALID_ARGUMENT and NOT_FOUND: change the request, also where it or
 * its answer is larger than one message may be. RESOURCE_EXHAUSTED and UNAVAILABLE, which the client
 * has retried already: come back later. INTERNAL: the server is at fault. CANCELLED: the caller's
 * signal, which is then the `cause`, or `close()` ended the call.
 */
export class SemserveError extends Error {
  /** The gRPC status by name, never OK. */
  readonly code: StatusCode;
  /** The bad fields of the request; mostly empty but for INVALID_ARGUMENT. */
  readonly violations: readonly Violation[];
  /** Milliseconds after which the server wants to be asked again; undefined where it did not say. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: StatusCode,
    message: string,
    details: { violations?: readonly Violation[]; retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(`${code}: ${message}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "SemserveError";
    this.code = code;
    this.violations = details.violations ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }
}

// What gRPC's libraries say of a message over a limit, with the code of an overload.
const TOO_LARGE = /larger than max|exceeds maximum size/i;

/** Makes the error of a `google.rpc.Status`, as answers carry it. */
export function fromProto(status: Status, cause?: unknown): SemserveError {
  const violations: Violation[] = [];
  let retryAfterMs: number | undefined;
  for (const detail of status.details) {
    if (detail.typeUrl.endsWith(`/${BadRequestSchema.typeName}`)) {
      for (const violation of fromBinary(BadRequestSchema, detail.value).fieldViolations) {
        violations.push({ field: violation.field, description: violation.description });
      }
    } else if (detail.typeUrl.endsWith(`/${RetryInfoSchema.typeName}`)) {
      const delay = fromBinary(RetryInfoSchema, detail.value).retryDelay;
      retryAfterMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    }
  }
  if (status.code === Code.RESOURCE_EXHAUSTED && TOO_LARGE.test(status.message)) {
    return new SemserveError("INVALID_ARGUMENT", `the request or its answer is too large: ${status.message}`, { cause });
  }
  const code = (Code[status.code] ?? "UNKNOWN") as StatusCode;
  return new SemserveError(code, status.message, { violations, retryAfterMs, cause });
}

/** Makes the error of a call that gRPC ended. */
export function fromCall(ended: Pick<StatusObject, "code" | "details" | "metadata">, cause?: unknown): SemserveError {
  const [packed] = ended.metadata?.get("grpc-status-details-bin") ?? [];
  if (packed instanceof Buffer) {
    return fromProto(fromBinary(StatusSchema, packed), cause);
  }
  const bare = { $typeName: "google.rpc.Status", code: ended.code, message: ended.details, details: [] } as const;
  return fromProto({ ...bare, details: [] }, cause);
}

const PUSHBACK = "grpc-retry-pushback-ms";

/**
 * Gives the milliseconds after which a server asks a call to come back, NaN where it asks that the
 * call does not come back, and undefined where it does not say.
 */
export function pushback(metadata: Metadata | undefined): number | undefined {
  const [said] = metadata?.get(PUSHBACK) ?? [];
  if (said === undefined) {
    return undefined;
  }
  return /^\d{1,9}$/.test(String(said)) ? Number(said) : NaN;
}
