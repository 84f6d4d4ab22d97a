// When what a server could not take is sent again.

import { SemserveError } from "./errors.js";

const MAX_ATTEMPTS = 4;
const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 2000;
const JITTER = 0.2;

const services = ["EmbeddingService", "ClassificationService", "SimilarityService", "ScoreService", "ModelService"];

/**
 * The gRPC service config. It balances over every address and retries UNAVAILABLE; the server's own
 * hint when to come back takes the place of the back-off. RESOURCE_EXHAUSTED is not in it, because a
 * message over a limit has the same status: `retryAfter` tells the two apart.
 */
export const SERVICE_CONFIG = JSON.stringify({
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: services.map((service) => ({ service: `semserve.v1.${service}` })),
      retryPolicy: {
        maxAttempts: MAX_ATTEMPTS,
        initialBackoff: `${INITIAL_BACKOFF_MS / 1000}s`,
        maxBackoff: `${MAX_BACKOFF_MS / 1000}s`,
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
  retryThrottling: { maxTokens: 100, tokenRatio: 0.1 },
});

/**
 * Gives the milliseconds until a request is sent again that failed at its first, second, … attempt;
 * undefined where it is not sent again.
 *
 * @param unavailable whether UNAVAILABLE is sent again too, which gRPC itself does for unary calls.
 */
export function retryAfter(
  error: SemserveError,
  attempt: number,
  unavailable: boolean,
  random: () => number = Math.random,
): number | undefined {
  const retried = error.code === "RESOURCE_EXHAUSTED" || (unavailable && error.code === "UNAVAILABLE");
  if (!retried || attempt >= MAX_ATTEMPTS) {
    return undefined;
  }
  if (error.retryAfterMs) {
    return error.retryAfterMs;
  }
  const backoff = Math.min(INITIAL_BACKOFF_MS * 2 ** (attempt - 1), MAX_BACKOFF_MS);
  return backoff * (1 + JITTER * (2 * random() - 1));
}
