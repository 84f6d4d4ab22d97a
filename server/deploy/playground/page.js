// Connects the forms with the calls. `?run=similarity,rank&texts=…` fills fields by their names and runs the forms.
import { call } from "./calls.js";
import { element, heatmap, labelBars, modelsTable, mostAlike, ranking } from "./pictures.js";

// Most lines of a list; a larger table helps nobody.
const MOST_LINES = 50;
// Metrics whose scores are from 0 to 1 for what has anything in common.
const UNIT_METRICS = ["METRIC_COSINE", "METRIC_MANHATTAN", "METRIC_UNSPECIFIED"];
const byId = (id) => document.getElementById(id);
const running = new Map();
let models = [];

const FORMS = {
  similarity: async (options) => {
    const values = { model: chosen("similarity"), texts: lines("texts") };
    const told = await call("similarity", values, options);
    const metric = known(told.answer.model)?.metric;
    show("similarity", told, told.answer.truncated_tokens, mostAlike(told.answer.rows));
    return heatmap(values.texts, told.answer.rows, UNIT_METRICS.includes(metric));
  },
  classify: async (options) => {
    const model = chosen("classify");
    const single = known(model)?.takes_pairs === false;
    const hypothesis = single ? undefined : byId("hypothesis").value;
    const told = await call("classify", { model, premise: byId("premise").value, hypothesis }, options);
    const [{ classification, truncated_tokens }] = told.answer.results;
    show("classify", told, truncated_tokens, `Label: ${classification.label}`);
    return labelBars(classification);
  },
  rank: async (options) => {
    const model = chosen("rank");
    const values = { model, query: byId("query").value, documents: lines("documents") };
    const name = known(model)?.task === "TASK_SCORE" ? "rerank" : "rank";
    const told = await call(name, values, options);
    show("rank", told, told.answer.truncated_tokens, `Best: ${values.documents[told.answer.hits[0].index]}`);
    return ranking(values.documents, told.answer.hits);
  },
  models: async (options) => {
    const [server, told] = await Promise.all([call("server", {}, options), call("models", {}, options)]);
    models = told.answer.models;
    offer("similarity", (model) => model.task === "TASK_EMBEDDING");
    offer("classify", (model) => model.task === "TASK_CLASSIFICATION");
    offer("rank", (model) => model.task === "TASK_EMBEDDING" || (model.task === "TASK_SCORE" && model.takes_pairs));
    say("models", [
      `semserve ${server.answer.version}`,
      `${models.filter((model) => model.state === "MODEL_STATE_READY").length} of ${models.length} models ready`,
      `at most ${server.answer.limits.max_request_texts} texts a request`,
    ]);
    return modelsTable(models);
  },
};

// Runs a form. A second run of the same form ends the first one.
async function run(name) {
  running.get(name)?.abort();
  const aborter = new AbortController();
  running.set(name, aborter);
  const area = byId(`${name}-answer`);
  area.setAttribute("aria-busy", "true");
  byId(`${name}-error`).textContent = "";
  try {
    area.replaceChildren(await FORMS[name]({ key: byId("key").value, signal: aborter.signal }));
  } catch (error) {
    if (aborter.signal.aborted) return;
    area.replaceChildren();
    say(name, []);
    byId(`${name}-error`).textContent = error.message;
  }
  area.setAttribute("aria-busy", "false");
}

function show(name, { answer, milliseconds, serverMilliseconds }, truncated, result) {
  const server = serverMilliseconds === null ? "" : `, the server ${serverMilliseconds} ms`;
  say(name, [
    result,
    `Model: ${answer.model}`,
    `Time: ${milliseconds.toFixed(0)} ms${server}`,
    `Tokens: ${answer.usage.token_count}`,
    truncated ? `Truncated: ${truncated} tokens were not read` : "Truncated: nothing",
  ]);
}

// Writes the line that screen readers hear when an answer is there.
function say(name, facts) {
  const items = facts.filter(Boolean).map((fact) => element("span", { class: "fact" }, fact));
  byId(`${name}-status`).replaceChildren(...items.flatMap((item, at) => (at ? [" ", item] : [item])));
}

function lines(id) {
  const found = byId(id).value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (found.length > MOST_LINES) throw new Error(`${found.length} lines; this page takes at most ${MOST_LINES}`);
  return found;
}

const known = (name) => models.find((model) => model.name === name);

// Without a choice the field is left out, and the server picks its default or says what is missing.
const chosen = (form) => byId(`${form}-model`).value || undefined;

function offer(form, fits) {
  const select = byId(`${form}-model`);
  const before = select.value;
  const ready = models.filter((model) => model.state === "MODEL_STATE_READY" && fits(model));
  select.replaceChildren(...ready.map((model) => element("option", { value: model.name }, model.name)));
  if (!ready.length) select.append(element("option", { value: "" }, "none is ready"));
  const best = ready.find((model) => model.name === before) || ready.find((model) => model.is_default) || ready[0];
  if (best) select.value = best.name;
}

for (const name of Object.keys(FORMS)) {
  const form = byId(name);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(name);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

const asked = new URLSearchParams(location.search);
for (const field of document.querySelectorAll("textarea, input[type=text]")) {
  if (asked.has(field.name)) field.value = asked.get(field.name);
}
await run("models");
for (const select of document.querySelectorAll("select")) {
  if (asked.has(select.name)) select.value = asked.get(select.name);
}
await Promise.all((asked.get("run") || "").split(",").filter((name) => Object.hasOwn(FORMS, name)).map(run));
document.documentElement.dataset.ready = "true";
