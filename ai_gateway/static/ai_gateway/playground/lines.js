// What the views of the playground answer: JSON, one line after another or at once. Nothing but this site is asked.

export class Refused extends Error {
  constructor(problem) {
    super(problem.message);
    this.problem = problem;
  }
}

function headers(token) {
  return { "X-CSRFToken": token, "Content-Type": "application/json", Accept: "application/json" };
}

async function refusal(response) {
  try {
    return new Refused((await response.json()).problem);
  } catch {
    return new Refused({ title: `${response.status}`, message: response.statusText || "?" });
  }
}

export async function getJSON(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

export async function postJSON(url, token, document) {
  const body = JSON.stringify(document);
  const response = await fetch(url, { method: "POST", headers: headers(token), body, credentials: "same-origin" });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

export async function* postForLines(url, token, document, signal) {
  const body = JSON.stringify(document);
  const asked = { method: "POST", headers: headers(token), body, signal, credentials: "same-origin" };
  const response = await fetch(url, asked);
  if (!response.ok) throw await refusal(response);
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    held += done ? decoder.decode() : decoder.decode(value, { stream: true });
    const lines = held.split("\n");
    held = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
    if (done) return;
  }
}
