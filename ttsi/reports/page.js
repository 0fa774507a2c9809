// The list of inputs: filters, and a story for each. Whatever comes from a run is untrusted and only ever becomes text
// (textContent); there is no markup made of strings here, and nothing is fetched.
"use strict";

const PER_PAGE = 50;
const VERDICTS = ["all", "fixed", "broken", "unsure", "wrong", "right", "ungraded", "failed"];
const FINE = {
  fixed: "wrong before, right after", broken: "right before, wrong after", right: "right before and after",
  wrong: "wrong before and after", failed: "this input failed", ungraded: "no right answer is known",
};

const find = (id) => document.getElementById(id);
const form = find("filters");
const runs = new Map();
const chunks = new Map();
let run, shown, limit;

/** A number with its noun: 1 input, 2 inputs. */
const withNoun = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** An element with a class, and texts or elements inside. */
function make(tag, name, ...inside) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...inside.filter((part) => part || part === 0).map((part) => part instanceof Node ? part : String(part)));
  return element;
}

/** What `stories.pack_episodes` packed. */
async function unpack(id) {
  const bytes = Uint8Array.from(atob(find(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

async function openRun(number) {
  if (!runs.has(number)) runs.set(number, await unpack(`index-${number}`));
  run = { number, ...runs.get(number) };
  run.rows.forEach((row, place) => {
    row.place = place;
    row.words ??= [row.id, row.request, row.before, row.after, ...row.tags].join("\n").toLowerCase();
  });
  fillVerdicts();
  form.elements.tag.replaceChildren(new Option("all", ""), ...run.tags.map((tag) => new Option(tag, tag)));
  filter();
}

function fillVerdicts() {
  const before = form.elements.verdict?.value;
  const counted = VERDICTS.map((verdict) => [verdict, run.rows.filter((row) => matches(row, verdict)).length]).filter(([name, n]) => n || name === "all");
  find("verdicts").replaceChildren(...counted.map(([verdict, n]) => {
    const radio = make("input");
    Object.assign(radio, { type: "radio", name: "verdict", value: verdict, defaultChecked: verdict === "all", checked: verdict === before });
    return make("label", "", radio, verdict, make("span", "", n.toLocaleString("en")));
  }));
  if (!form.elements.verdict.value) find("verdicts").querySelector("input").checked = true;
}

function matches(row, verdict) {
  if (verdict === "all") return true;
  return verdict === "unsure" ? row.unsure : row.verdict === verdict;
}

function filter() {
  const { verdict, tag, order, text } = Object.fromEntries(new FormData(form));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  shown = run.rows.filter((row) => matches(row, verdict) && (!tag || row.tags.includes(tag)) && words.every((word) => row.words.includes(word)));
  const sure = (row) => Number.isFinite(row.sure) ? row.sure : -Infinity;
  if (order !== "run") shown.sort((a, b) => (sure(a) === sure(b) ? a.place - b.place : (sure(a) - sure(b)) * (order === "sure" ? -1 : 1)));
  limit = 0;
  find("list").replaceChildren();
  more();
}

function more() {
  const fresh = shown.slice(limit, limit + PER_PAGE).map(entry);
  limit += fresh.length;
  find("list").append(...fresh);
  find("more").hidden = limit >= shown.length;
  const all = withNoun(run.rows.length, "input");
  const some = shown.length === run.rows.length ? all : `${shown.length.toLocaleString("en")} of ${all}`;
  const listed = limit >= shown.length ? "" : `; the first ${withNoun(limit, "is", "are")} listed`;
  find("shown").textContent = shown.length ? `${some}${listed}. Open one for its story.` : "No input fits these filters.";
  return fresh[0];
}

function entry(row) {
  const said = make("span", "said", make("span", row.after !== undefined && row.after !== row.before ? "old changed" : "old", row.before));
  if (row.after !== undefined && row.after !== row.before) said.append(make("span", "", row.after));
  const button = make("button", "row",
    make("span", `badge ${row.verdict}`, row.verdict),
    make("span", "sure", row.sure === null ? "" : `${row.unsure ? "unsure" : "sure"} ${number(row.sure)}`),
    make("span", "request", row.request ?? `input ${row.id} (its text is not in the run folder)`), said);
  button.type = "button";
  button.title = FINE[row.verdict];
  button.setAttribute("aria-expanded", "false");
  const item = make("li", "", button);
  button.addEventListener("click", () => toggle(item, button, row));
  return item;
}

async function toggle(item, button, row) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) return item.lastElementChild.remove();
  const place = `${run.number}-${Math.floor(row.place / run.chunk)}`;
  if (!chunks.has(place)) chunks.set(place, unpack(`stories-${place}`));
  const story = (await chunks.get(place))[row.place % run.chunk];
  if (button.getAttribute("aria-expanded") === "true" && item.childElementCount === 1) item.append(tell(story, row));
}

const number = (value) => typeof value === "number" ? String(Number(value.toFixed(3))) : value;
const percent = (value) => typeof value === "number" ? `${(100 * value).toFixed(1)} %` : value;
const section = (title, name, ...inside) => make("section", name, make("h5", "", title), ...inside);

function tell(story, row) {
  return make("div", "story",
    story.error && section("This input failed", "full", make("p", "", story.error)),
    section("The conversation", "", ...conversation(story), tools(story)),
    ...(story.trajectories ? trajectories(story.trajectories) : answered(story)),
    section("Record", "", ...record(story, row)));
}

function trajectories(sides) {
  const titles = { base: "What the base did", adapted: "What was done in the end" };
  return Object.entries(sides).map(([side, text]) => section(titles[side] ?? side, "full", make("pre", "", text)));
}

function answered(story) {
  return [
    section("Answers", "", answers(story)),
    story.awareness && section("1. Is the model sure?", "", ...awareness(story.awareness)),
    story.examples?.length > 0 && section("2. Similar examples, written without knowing the answer", "", ...examples(story.examples)),
    story.adaptation && section(story.examples.length ? "3. What was learned" : "2. What was learned", "", ...learned(story)),
  ];
}

function conversation(story) {
  if (!story.messages) return [make("p", "quiet", "The run folder does not hold this input's text.")];
  return story.messages.map((message) => make("div", `turn ${message.role === "user" ? "user" : ""}`, make("b", "", message.role), message.content,
    ...message.tool_calls.map((call) => make("div", "", callText(call)))));
}

function tools(story) {
  const offered = story.tools.map((place) => run.tools[place]);
  if (!offered.length) return null;
  const list = make("details", "", make("summary", "", `${withNoun(offered.length, "tool")} on offer: ${offered.map((tool) => tool.name).join(", ")}`));
  list.append(...offered.map((tool) => make("div", "", make("p", "", make("code", "", tool.name), ` ${tool.description}`),
    make("pre", "quiet", JSON.stringify(tool.parameters)))));
  return list;
}

function awareness(known) {
  const bars = make("div", "bars");
  for (const candidate of known.candidates) {
    const bar = make("i");
    bar.style.width = `${100 * candidate.probability}%`;
    const name = make("code", "", candidate.action);
    name.title = `log-probability ${number(candidate.logprob)}: ${candidate.text}`;
    bars.append(name, make("span", "", percent(candidate.probability)), make("span", "", bar));
  }
  const verdict = `${known.measure} ${number(known.value)}, tau ${number(known.tau)}: ${known.unsure ? "unsure" : "sure"}`;
  const others = Object.entries(known.measures).map(([name, value]) => `${name} ${number(value)}`).join(", ");
  return [known.candidates.length ? bars : make("p", "quiet", "No action competed."), make("p", "", verdict), make("p", "quiet", others)];
}

function examples(written) {
  const kept = written.filter((example) => example.refused === null);
  return [make("p", "", `${kept.length} of ${written.length} kept`), make("ul", "examples", ...written.map((example) => make("li", example.refused === null ? "" : "refused",
    example.query || (example.calls.length ? "" : example.text), make("div", "", ...example.calls.map((call) => callText(call))),
    example.refused === null ? null : make("em", "", `refused: ${example.refused}`),
    example.leaks.length ? make("em", "", `leak check: ${example.leaks.join(", ")}`) : null)))];
}

function learned({ adaptation, awareness: known, examples: written }) {
  const sure = known && !known.unsure && !written.length ? " because the model is sure" : "";
  const why = adaptation.reason ? ` (${adaptation.reason})` : sure;
  const kept = written.filter((example) => example.refused === null).length;
  const again = adaptation.samples - kept;
  const what = again > 0 && again <= kept ? `${withNoun(kept, "example")}, ${again} of them once more with the called tool off the list,` : withNoun(adaptation.samples, "example");
  const said = {
    reused: "The temporary adapter of an earlier decision answers; nothing was written or trained.",
    shared: `The run's one adapter answers, which learned ${withNoun(adaptation.samples, "row")} of the training data.`,
    resampled: `Nothing was learned; the model answers a second time${why}.`,
    none: `Nothing was learned${why}: it answers as it is.`,
    "training-failed": `The adaptation was given up${why}: the model answers as it is.`,
    "in-context": `${withNoun(adaptation.samples, "example was", "examples were")} put into the prompt; nothing was trained.`,
    trained: `A temporary adapter learned ${what} in ${withNoun(adaptation.steps, "step")} and was dropped after the answer.`,
  };
  const parts = [make("p", "", said[adaptation.status] ?? adaptation.status)];
  if (adaptation.refused) parts.push(make("p", "", `The new answer is not taken (${adaptation.refused}): the base's stays.`));
  if (adaptation.left_out) parts.push(make("p", "quiet", `${adaptation.left_out} more would not fit the model's context and were left out.`));
  if (adaptation.losses.length) parts.push(line(adaptation.losses.filter(Number.isFinite)), make("p", "quiet", `Loss before each step, nats per token: ${adaptation.losses.map(number).join(", ")}`));
  return parts;
}

function line(losses) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const curve = document.createElementNS(space, "polyline");
  const top = Math.max(...losses, 1e-9);
  const points = losses.map((loss, step) => `${2 + (step * 156) / Math.max(losses.length - 1, 1)},${38 - (36 * loss) / top}`);
  for (const [key, value] of Object.entries({ viewBox: "0 0 160 40", width: 160, height: 40, role: "img", "aria-label": "loss before each step" })) svg.setAttribute(key, value);
  for (const [key, value] of Object.entries({ points: points.join(" "), fill: "none", stroke: "var(--accent)", "stroke-width": 2 })) curve.setAttribute(key, value);
  svg.append(curve);
  return svg;
}

function answers(story) {
  const grade = (side) => story.grades ? story.grades[run.matcher][side] : null;
  const parts = [answer(run.adapts ? "Before" : "The model", story.base, grade("base"), story.gold)];
  if (run.adapts) parts.push(answer("After", story.adapted, grade("adapted"), story.gold));
  const right = !story.gold ? "not known" : story.gold.length ? "" : "call no tool";
  parts.push(make("div", "", make("b", "", "Right (gold)"), ...(story.gold ?? []).map((call) => make("div", "", callText(call))), right && make("div", "", right)));
  return make("div", "answers", ...parts);
}

function answer(title, said, right, gold) {
  const judged = right === null ? "" : right ? ": right" : ": wrong";
  const box = make("div", right === null ? "" : right ? "yes" : "no", make("b", "", title + judged));
  if (!said) return box.append("no answer"), box;
  if (said.error !== null) box.append(make("pre", "", said.text), make("p", "quiet", `not readable: ${said.error}`));
  else if (said.calls.length) box.append(...said.calls.map((call) => make("div", "", callText(call, right === false ? gold : null))));
  else box.append(make("p", "", `no tool: ${said.text}`));
  return box;
}

/** A call as code; what differs from the gold call of the same tool is marked. */
function callText(call, gold) {
  const same = gold?.find((other) => other.name === call.name);
  const parts = Object.entries(call.arguments).flatMap(([key, value], place) => {
    const text = `${key}=${JSON.stringify(value)}`;
    const differs = same && JSON.stringify(same.arguments[key]) !== JSON.stringify(value);
    return [place ? ", " : "", differs ? make("mark", "", text) : text];
  });
  const missing = same ? Object.keys(same.arguments).filter((key) => !(key in call.arguments)) : [];
  if (missing.length) parts.push(" ", make("mark", "", `missing: ${missing.join(", ")}`));
  const wrongTool = gold && gold.length && !same;
  return make("code", "", wrongTool ? make("mark", "", call.name) : call.name, "(", ...parts, ")");
}

function record(story, row) {
  const spent = Object.entries(story.seconds).map(([stage, value]) => `${stage} ${value.toFixed(2)} s`).join(", ");
  const rules = story.grades ? Object.entries(story.grades).map(([rule, sides]) => `${rule}: ${(run.adapts ? ["base", "adapted"] : ["base"]).map((side) => `${side} ${sides[side] ? "right" : "wrong"}`).join(", ")}`) : [];
  return [`id ${row.id}, hash ${story.hash.slice(0, 12)}`, spent, ...rules, row.tags.join(", ")].filter(Boolean).map((text) => make("p", "quiet", text));
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => event.target.name === "run" ? openRun(Number(event.target.value)) : filter());
find("more").firstElementChild.addEventListener("click", () => more()?.querySelector("button").focus());
openRun(0).then(() => { form.hidden = false; }, (error) => { find("shown").textContent = `The inputs could not be read by this browser: ${error.message}`; });
