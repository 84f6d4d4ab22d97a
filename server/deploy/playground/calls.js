// The calls of the page: the paths, the bodies, and the fields of the answers that the page shows.
//
// The object is JSON, so that a test reads it and makes the same calls. In a body, "$name" stands for the value of
// that name; a value that is undefined is left out.
export const CALLS = {
  "server": {"method": "GET", "path": "/v1/server", "fields": ["version", "limits"]},
  "models": {"method": "GET", "path": "/v1/models", "fields": ["models"]},
  "similarity": {
    "method": "POST",
    "path": "/v1/matrix",
    "body": {"model": "$model", "left": "$texts"},
    "fields": ["model", "rows", "usage", "truncated_tokens"]
  },
  "classify": {
    "method": "POST",
    "path": "/v1/classify",
    "body": {"model": "$model", "pairs": [{"premise": "$premise", "hypothesis": "$hypothesis"}]},
    "fields": ["model", "results", "usage"]
  },
  "rank": {
    "method": "POST",
    "path": "/v1/rank",
    "body": {"model": "$model", "query": "$query", "documents": "$documents"},
    "fields": ["model", "hits", "usage", "truncated_tokens"]
  },
  "rerank": {
    "method": "POST",
    "path": "/v1/rerank",
    "body": {"model": "$model", "query": "$query", "documents": "$documents"},
    "fields": ["model", "hits", "usage", "truncated_tokens"]
  }
};

const LONGEST_WAIT_MS = 60_000;

// Makes a call. Returns the answer, the milliseconds until it was here, and those that Envoy waited for the server
// (null where Envoy does not say). Throws an Error whose message is one line for the user.
export async function call(name, values = {}, { key = "", signal } = {}) {
  const { method, path, body, fields } = CALLS[name];
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  const timeout = AbortSignal.timeout(LONGEST_WAIT_MS);
  const started = performance.now();
  let response, text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(fill(body, values)),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    const reason = timeout.aborted ? `no answer within ${LONGEST_WAIT_MS / 1000} s` : "Envoy does not answer";
    throw new Error(`${path}: ${reason}`);
  }
  const milliseconds = performance.now() - started;
  const answer = parse(text);
  if (!response.ok) throw new Error(answer?.message || `${path}: ${response.status} ${text.split("\n")[0]}`);
  const missing = fields.find((field) => answer?.[field] === undefined);
  if (missing) throw new Error(`${path}: the answer has no field ${missing}`);
  const waited = response.headers.get("x-envoy-upstream-service-time");
  return { answer, milliseconds, serverMilliseconds: waited === null ? null : Number(waited) };
}

// Puts the values into a template of a body.
export function fill(template, values) {
  if (typeof template === "string" && template.startsWith("$")) return values[template.slice(1)];
  if (Array.isArray(template)) return template.map((item) => fill(item, values));
  if (typeof template !== "object") return template;
  return Object.fromEntries(Object.entries(template).map(([name, value]) => [name, fill(value, values)]));
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
