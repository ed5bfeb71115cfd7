// The playground's page. Without this script it is a plain form; with it a conversation, answered live, by up to three
// models side by side. What is written stays in this tab, and is gone when it is closed.

import { getJSON, postJSON } from "./lines.js";
import { Panel } from "./panel.js";
import { Turns } from "./turns.js";

const MOST_MODELS = 3;
const STORED = "ai_gateway.playground";
const LONGEST_STORED = 1_000_000;
const TEXTS = ["format", "system", "effort", "tools", "schema", "extra"];
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const JSON_FIELDS = ["tools", "schema", "extra"];

const byId = (name) => document.getElementById(`play-${name}`);
const form = document.getElementById("play");
const page = JSON.parse(byId("data").textContent);
page.token = form.elements.csrfmiddlewaretoken.value;

let running = null;
let timer = null;
let samples = [];
let isReady = false;

const turns = new Turns(byId("turns"), byId("turn"), () => changed());

// What is asked.

function others() {
  return [...byId("models").querySelectorAll("input")].slice(1);
}

function models() {
  const named = [form.elements.model, ...others()].map((input) => input.value.trim()).filter(Boolean);
  return [...new Set(named)];
}

function prompt(model) {
  const value = (name) => form.elements[name].value;
  const asked = { model, stream: form.elements.stream.checked, messages: sent(turns.all) };
  for (const name of TEXTS) asked[name] = value(name);
  for (const name of NUMBERS) asked[name] = value(name) === "" ? null : Number(value(name));
  asked.stop = value("stop").split("\n").filter(Boolean);
  return asked;
}

// An empty message at the end waits to be written; it is no part of the conversation yet.
function sent(all) {
  const last = all.at(-1);
  const isEmpty = last && last.role === "user" && !last.text.trim() && !last.images.length;
  return isEmpty ? all.slice(0, -1) : all;
}

function fill(asked) {
  form.elements.model.value = asked.model;
  form.elements.stream.checked = asked.stream;
  for (const name of TEXTS) form.elements[name].value = asked[name];
  for (const name of NUMBERS) form.elements[name].value = asked[name] ?? "";
  form.elements.stop.value = asked.stop.join("\n");
  turns.all = asked.messages.length ? asked.messages : [{ role: "user", text: "" }];
}

// What was typed into the plain form before this script was there. It stays.
function typed() {
  const names = ["model", ...TEXTS, ...NUMBERS, "stop"];
  const fields = names.map((name) => form.elements[name]).filter((field) => "defaultValue" in field);
  return fields.filter((field) => field.value !== field.defaultValue).map((field) => [field, field.value]);
}

function addModel(name = "") {
  if (others().length >= MOST_MODELS - 1) return;
  const field = byId("other").content.firstElementChild.cloneNode(true);
  const [label, input] = [field.querySelector("label"), field.querySelector("input")];
  input.id = `play-other-${Date.now()}`;
  label.htmlFor = input.id;
  input.value = name;
  field.querySelector("button").addEventListener("click", () => {
    field.remove();
    byId("compare").disabled = false;
    changed();
  });
  byId("models").append(field);
  byId("compare").disabled = others().length >= MOST_MODELS - 1;
  if (!name) input.focus();
}

// What is kept, in this tab only.

function keep() {
  const asked = { ...prompt(form.elements.model.value.trim()), others: others().map((input) => input.value) };
  asked.messages = turns.all;
  let text = JSON.stringify(asked);
  if (text.length > LONGEST_STORED) {
    text = JSON.stringify({ ...asked, messages: turns.all.map((turn) => ({ ...turn, images: [] })) });
  }
  try {
    sessionStorage.setItem(STORED, text);
  } catch {
    // The tab has no room, or none for this site: then it is not kept.
  }
}

function restored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function changed() {
  if (!isReady) return;
  clearTimeout(timer);
  timer = setTimeout(() => { keep(); check(); }, 300);
}

// What is wrong with it, and how it looks as code.

function complain(problem) {
  for (const name of JSON_FIELDS) byId(`${name}-problem`).textContent = "";
  byId("problem").hidden = true;
  if (!problem) return;
  if (JSON_FIELDS.includes(problem.field)) {
    byId(`${problem.field}-problem`).textContent = problem.message;
  } else {
    byId("problem").textContent = problem.field ? `${problem.field}: ${problem.message}` : problem.message;
    byId("problem").hidden = false;
  }
}

async function check() {
  const [model] = models();
  const asked = prompt(model || "");
  const hasJSON = JSON_FIELDS.some((name) => asked[name].trim());
  if (!byId("code").open && !hasJSON) {
    complain(null);
    return;
  }
  let answer;
  try {
    answer = await postJSON(page.urls.code, page.token, asked);
  } catch (error) {
    answer = { problem: error.problem || { message: String(error.message) } };
  }
  const { problem } = answer;
  const isUnfinished = problem && ["model", "messages"].includes(problem.field);
  complain(isUnfinished ? null : problem);
  samples = answer.snippets || [];
  showSample(problem);
}

function showSample(problem) {
  const choice = byId("language");
  const chosen = choice.value;
  choice.replaceChildren(...samples.map(({ name, title }) => new Option(title, name, false, name === chosen)));
  const sample = samples.find(({ name }) => name === choice.value);
  byId("sample").textContent = sample ? sample.text : problem?.message || "";
  byId("copy").disabled = !sample;
}

async function copy() {
  const button = byId("copy");
  const label = button.textContent;
  try {
    // The clipboard is there on https and localhost only.
    await navigator.clipboard.writeText(byId("sample").textContent);
    button.textContent = page.words.copied;
    setTimeout(() => { button.textContent = label; }, 2000);
  } catch {
    window.getSelection().selectAllChildren(byId("sample"));
  }
}

// Asking.

function isTooLong(asked) {
  return JSON.stringify(asked).length > page.longest;
}

async function send() {
  const names = models();
  complain(null);
  if (!names.length || running) return;
  if (isTooLong(prompt(names[0]))) {
    complain({ message: page.words.tooLong });
    return;
  }
  running = new AbortController();
  byId("send").disabled = true;
  byId("stop-all").disabled = false;
  const panels = names.map((model) => new Panel({ template: byId("panel"), model, page, goOn }));
  byId("answers").replaceChildren(...panels.map((panel) => panel.node));
  byId("answers").scrollIntoView({ block: "nearest" });
  const { signal } = running;
  await Promise.all(panels.map(async (panel) => {
    await panel.run(prompt(panel.model), signal);
    panel.lookUp();
  }));
  running = null;
  byId("send").disabled = false;
  byId("stop-all").disabled = true;
}

// The answer becomes a part of the conversation. Each call of a tool waits for its result, to be written by hand.
function goOn(turn) {
  turns.all = [...sent(turns.all), turn];
  const results = turn.calls.map(({ id, name }) => ({ role: "tool", call_id: id, name, text: "" }));
  for (const next of results.length ? results : [{ role: "user", text: "" }]) turns.add(next, true);
}

function clear() {
  byId("answers").replaceChildren();
  turns.all = [{ role: "user", text: "" }];
  changed();
}

// The page.

for (const node of document.querySelectorAll("[data-live]")) node.hidden = false;
for (const node of document.querySelectorAll("[data-plain]")) node.remove();

form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
form.addEventListener("input", changed);
window.addEventListener("pagehide", keep);
form.addEventListener("change", changed);
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
byId("add").addEventListener("click", () => turns.add({ role: "user", text: "" }, true));
byId("compare").addEventListener("click", () => addModel());
byId("stop-all").addEventListener("click", () => running?.abort());
byId("clear").addEventListener("click", clear);
byId("copy").addEventListener("click", copy);
byId("language").addEventListener("change", () => showSample());
byId("code").addEventListener("toggle", () => { if (byId("code").open) check(); });

const stored = page.isGiven ? null : restored();
const early = typed();
fill(stored || page.prompt);
for (const [field, value] of early) field.value = value;
for (const name of stored?.others || []) if (name) addModel(name);
isReady = true;

getJSON(page.urls.models).then(({ models: listed }) => {
  const known = new Set([...byId("known").options].map((option) => option.value));
  byId("known").append(...listed.filter((name) => !known.has(name)).map((name) => new Option(name, name)));
}, () => {
  // Then those are suggested that the page came with.
});
