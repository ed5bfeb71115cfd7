// One answer: what the model says while it says it, how long it took, what it cost, and why it came from where it came.

import { Refused, getJSON, postForLines } from "./lines.js";
import { callNode, pretty } from "./turns.js";

const LOOKS = 12;
const PAUSE = 400;

// Milliseconds: of an answer that came at once nobody can say how fast it came.
const SHORTEST = 50;

function seconds(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}

function term(name, value, link) {
  const node = document.createElement("div");
  const [title, said] = [document.createElement("dt"), document.createElement("dd")];
  title.textContent = name;
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.textContent = value;
    said.append(anchor);
  } else {
    said.textContent = value;
  }
  node.append(title, said);
  return node;
}

export class Panel {
  constructor({ template, model, page, goOn }) {
    this.page = page;
    this.words = page.words;
    this.model = model;
    this.node = template.content.firstElementChild.cloneNode(true);
    this.parts = new Map();
    this.facts = new Map();
    this.raw = "";
    this.find("title").textContent = model;
    this.find("continue").addEventListener("click", () => goOn(this.turn));
    this.tabs = [...this.node.querySelectorAll("[data-tab]")];
    for (const [place, tab] of this.tabs.entries()) {
      tab.addEventListener("click", () => this.choose(place));
      tab.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (by) this.choose((place + by + this.tabs.length) % this.tabs.length, true);
      });
    }
  }

  find(name) {
    return this.node.querySelector(`[data-${name}]`);
  }

  choose(place, focus = false) {
    for (const [each, tab] of this.tabs.entries()) {
      const isChosen = each === place;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
      this.node.querySelector(`[data-panel="${tab.dataset.tab}"]`).hidden = !isChosen;
      if (isChosen && focus) tab.focus();
    }
  }

  async run(prompt, signal) {
    this.began = performance.now();
    this.status(this.words.asking);
    try {
      for await (const line of postForLines(this.page.urls.answer, this.page.token, prompt, signal)) this.take(line);
      if (!this.ended && !this.failed) this.fail({ title: this.words.broken, message: this.words.brokenLong });
    } catch (error) {
      if (signal.aborted) this.stopped();
      else if (error instanceof Refused) this.fail(error.problem);
      else this.fail({ title: this.words.broken, message: String(error.message || error) });
    }
    this.finish();
  }

  take(line) {
    if (line.request) this.showRequest(line);
    if (line.head) this.showHead(line.head);
    if (line.raw) {
      this.raw += line.raw;
      this.find("response").append(line.raw);
    }
    for (const event of line.events || []) this.hear(event);
    if (line.problem) this.fail(line.problem);
    if (line.ended) this.ended = performance.now();
  }

  hear(event) {
    if (event.what === "finished") return this.used(event);
    if (event.what === "failed") return this.fail({ title: this.words.failed, message: event.message });
    if (event.what === "more") {
      const part = this.parts.get(event.key);
      if (!part) return;
      part.text += event.text;
    } else if (event.what === "signed") {
      const part = this.parts.get(event.key);
      if (part) part.state = event.state;
      return;
    } else {
      this.parts.set(event.key, { ...event });
    }
    if (!this.firstAt && (event.text || event.what === "call")) {
      this.firstAt = performance.now();
      this.fact(this.words.first, seconds(this.firstAt - this.began));
      this.status(this.words.streaming);
    }
    this.showPart(this.parts.get(event.key), event.text || "");
  }

  showPart(part, more) {
    if (part.what === "call") {
      part.node ||= this.find("calls").appendChild(callNode({ name: part.name, arguments: "" }));
      part.node.querySelector("pre").textContent = part.text;
    } else if (part.what === "thought") {
      if (!part.text) return;
      this.find("thoughts").hidden = false;
      this.find("thoughts").querySelector(".play-text").append(more);
    } else {
      this.node.querySelector('[data-panel="answer"] > [data-text]').append(more);
    }
  }

  used(event) {
    this.stop = event.stop;
    for (const [name, count] of Object.entries(event.tokens)) this.fact(this.words.tokens[name] || name, count);
    this.output = event.output;
  }

  showRequest({ request, explanation }) {
    const headers = request.headers.map(([name, value]) => `${name}: ${value}\n`).join("");
    this.find("request").textContent = `POST ${request.path}\n${headers}\n${JSON.stringify(request.body, null, 2)}`;
    if (request.dropped.length) {
      this.find("dropped").hidden = false;
      this.find("dropped").textContent = `${this.words.dropped} ${request.dropped.join(", ")}`;
    }
    if (!explanation) return;
    this.find("reason").textContent = explanation.error || explanation.reason;
    const shown = explanation.targets.map(({ name, problem }) => {
      const item = document.createElement("li");
      item.textContent = problem ? `${name} — ${problem}` : name;
      return item;
    });
    this.find("targets").replaceChildren(...shown);
  }

  showHead({ status, headers }) {
    this.code = status;
    const named = new Map(headers);
    this.requestId = named.get("x-request-id");
    const target = [named.get("x-gateway-provider"), named.get("x-gateway-model")].filter(Boolean).join("/");
    if (target) this.fact(this.words.target, target);
    if (named.has("x-gateway-attempts")) this.fact(this.words.attempts, named.get("x-gateway-attempts"));
    if (this.requestId) this.fact(this.words.request, this.requestId);
    const told = [...named].filter(([name]) => name.startsWith("x-gateway-") || name === "server-timing");
    this.find("headers").replaceChildren(...told.map(([name, value]) => term(name, value)));
  }

  fact(name, value, link) {
    const node = term(name, String(value), link);
    if (this.facts.has(name)) this.facts.get(name).replaceWith(node);
    else this.find("facts").append(node);
    this.facts.set(name, node);
  }

  status(text) {
    this.find("status").textContent = text;
  }

  fail({ title, message, field }) {
    this.failed = true;
    const problem = this.find("problem");
    problem.hidden = false;
    problem.querySelector("strong").textContent = title;
    problem.querySelector("p").textContent = field ? `${field}: ${message}` : message;
    this.node.classList.add("play-failed");
  }

  stopped() {
    this.isStopped = true;
    this.status(this.words.stopped);
  }

  finish() {
    this.node.setAttribute("aria-busy", "false");
    const now = this.ended || performance.now();
    this.fact(this.words.time, seconds(now - this.began));
    if (this.output && this.firstAt && now - this.firstAt > SHORTEST) {
      this.fact(this.words.speed, (this.output / ((now - this.firstAt) / 1000)).toFixed(1));
    }
    for (const part of this.parts.values()) if (part.node) part.node.querySelector("pre").textContent = pretty(part.text);
    if (this.raw && !this.raw.includes("\ndata:")) this.find("response").textContent = pretty(this.raw);
    if (this.failed) this.status(this.code ? `${this.code}` : this.words.failed);
    else if (!this.isStopped) {
      this.node.classList.add("play-done");
      this.status(this.words.stops[this.stop] || this.words.stops.end);
    }
    this.find("after").hidden = !this.parts.size;
  }

  // What the call used and cost is written down a moment after its end.
  async lookUp() {
    if (!this.requestId) return;
    const url = this.page.urls.call.replace("/-/", `/${encodeURIComponent(this.requestId)}/`);
    for (let look = 0; look < LOOKS; look += 1) {
      await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
      let call;
      try {
        ({ call } = await getJSON(url));
      } catch {
        return;
      }
      if (call) {
        this.showCall(call);
        return;
      }
    }
  }

  showCall(call) {
    this.fact(this.words.cost, call.cost ?? this.words.unknown);
    if (call.cost_exact) this.facts.get(this.words.cost).title = call.cost_exact;
    if (call.target) this.fact(this.words.target, call.target);
    if (!this.output) for (const [name, count] of call.tokens) this.fact(name, count);
    this.fact(this.words.request, this.requestId, call.url);
    if (this.isStopped || this.failed) this.fact(this.words.outcome, call.outcome);
    const trail = call.trail.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    });
    this.find("trail").replaceChildren(...trail);
  }

  get turn() {
    const parts = [...this.parts.values()];
    const of = (...kinds) => parts.filter((part) => kinds.includes(part.what));
    return {
      role: "assistant",
      model: this.model,
      text: of("text", "refusal").map((part) => part.text).join(""),
      thoughts: of("thought").map(({ text, state }) => ({ text, state })),
      calls: of("call").map(({ id, name, text, state }) => ({ id, name, arguments: text, state })),
    };
  }
}
