// Tables and bars of the answers. Texts of users become text nodes, never markup.
const HEAT_LEVELS = 10;
const STATES = {
  MODEL_STATE_LOADING: "loading",
  MODEL_STATE_READY: "ready",
  MODEL_STATE_REFUSED: "refused",
  MODEL_STATE_UNLOADED: "unloaded",
};
// How each task is named in the table of models.
const TASKS = {
  TASK_EMBEDDING: "embedding",
  TASK_CLASSIFICATION: "classification",
  TASK_SCORE: "score",
  TASK_SPARSE_EMBEDDING: "sparse embedding",
};

// Makes an element with attributes and children; a child is an element or a text.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function modelsTable(models) {
  const rows = models.map((model) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, model.name),
      element("td", {}, TASKS[model.task] || "–"),
      element("td", {}, element("span", { class: `state ${STATES[model.state]}` }, STATES[model.state] || "unknown")),
      element("td", {}, model.is_default ? "yes" : "–"),
      element("td", {}, model.max_sequence_length ? String(model.max_sequence_length) : "–"),
      element("td", {}, about(model)),
    ),
  );
  return table("Models of the server", ["Model", "Task", "State", "Default", "Most tokens", "About"], rows);
}

function about(model) {
  const reason = model.reason || model.reload_error;
  if (reason) return reason;
  const shape = model.labels?.length ? `labels: ${model.labels.join(", ")}` : "";
  const vector = model.dimensions ? `${model.dimensions} dimensions` : "";
  return [shape || vector, model.description].filter(Boolean).join("; ") || "–";
}

// Draws the scores of every text with every other: a number in each cell, and a colour for it.
export function heatmap(texts, rows, fixedRange) {
  const scores = rows.map((row) => row.scores.map(Number));
  const all = scores.flat().filter(Number.isFinite);
  const [low, high] = fixedRange ? [0, 1] : [Math.min(...all), Math.max(...all)];
  const heads = ["Text", ...texts.map((text, at) => [`${at + 1}`, element("span", { class: "unseen" }, ` ${text}`)])];
  const body = scores.map((row, at) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", title: texts[at] }, `${at + 1} ${texts[at]}`),
      ...row.map((score) => element("td", { class: `heat-${level(score, low, high)}` }, rounded(score, 2))),
    ),
  );
  return table(`Similarity of ${texts.length} texts`, heads, body, "heatmap");
}

function level(score, low, high) {
  const share = high > low ? (score - low) / (high - low) : 1;
  return Math.round(HEAT_LEVELS * Math.min(1, Math.max(0, share || 0)));
}

// Writes a score, which is a text where JSON has no number for it; there is no minus before a zero.
function rounded(score, digits) {
  return Number(score).toFixed(digits).replace(/^-(0\.0+)$/, "$1");
}

// Returns a sentence on the two different texts of the highest score.
export function mostAlike(rows) {
  let best = null;
  rows.forEach((row, left) =>
    row.scores.forEach((score, right) => {
      if (right > left && (best === null || Number(score) > best.score)) best = { left, right, score: Number(score) };
    }),
  );
  return best && `Most alike: ${best.left + 1} and ${best.right + 1}, ${rounded(best.score, 2)}`;
}

// A row for each label, in the order of the model's labels; the best one is marked by a word too.
export function labelBars({ label, scores }) {
  const longest = Math.max(1, ...scores.map((one) => Math.abs(one.score)));
  const rows = scores.map((one) =>
    element(
      "tr",
      one.label === label ? { class: "best" } : {},
      element("th", { scope: "row" }, one.label),
      bar(one.score / longest),
      element("td", { class: "number" }, rounded(one.score, 3)),
      element("td", {}, one.label === label ? "highest" : ""),
    ),
  );
  return table("Score of each label", ["Label", "Bar", "Score", "Place"], rows, "bars");
}

export function ranking(documents, hits) {
  const longest = Math.max(1, ...hits.map((hit) => Math.abs(hit.score)));
  const rows = hits.map((hit, place) =>
    element(
      "tr",
      {},
      element("td", { class: "number" }, `${place + 1}`),
      element("th", { scope: "row" }, documents[hit.index]),
      bar(hit.score / longest),
      element("td", { class: "number" }, rounded(hit.score, 3)),
      element("td", { class: "number" }, `${hit.index + 1}`),
    ),
  );
  return table("Documents, best first", ["Place", "Document", "Bar", "Score", "Line"], rows, "bars");
}

// A picture of the number that stands beside it, so screen readers skip it.
function bar(share) {
  const filled = element("span", { class: share < 0 ? "fill negative" : "fill" });
  filled.style.setProperty("--share", String(Math.min(1, Math.abs(share) || 0)));
  return element("td", { class: "bar", "aria-hidden": "true" }, filled);
}

// A bar's column is hidden from screen readers with its header. The table scrolls sideways, by keyboard too.
function table(caption, heads, rows, kind = "plain") {
  const cells = heads.map((head) =>
    element("th", head === "Bar" ? { scope: "col", "aria-hidden": "true" } : { scope: "col" }, ...[head].flat()),
  );
  const made = element(
    "table",
    { class: kind },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...cells)),
    element("tbody", {}, ...rows),
  );
  return element("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" }, made);
}
