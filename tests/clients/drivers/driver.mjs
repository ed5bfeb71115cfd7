// What the JavaScript programs in this folder share: see driver.py.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// The tool of the scenarios.
export const priceOf = ({ fruit, count }) => `${count} ${fruit} cost ${count * 3} crowns`;

// The texts of a stream, one for each piece that has any.
export const collect = async (pieces, of) => {
  const texts = [];
  for await (const piece of pieces) {
    const text = of(piece);
    if (text) texts.push(text);
  }
  return texts;
};

const errorsOf = function* (error) {
  for (let cause = error; cause; cause = cause.cause ?? cause.lastError) yield cause;
};

const statusOf = (error) => {
  for (const cause of errorsOf(error))
    for (const name of ["status", "statusCode", "code"]) if (Number.isInteger(cause[name])) return cause[name];
  return null;
};

const ofError = (error) => ({
  error: error.name ?? error.constructor.name,
  status: statusOf(error),
  message: [...errorsOf(error)].map(({ message }) => message).join(": "),
});

// The version of an installed package, whatever its exports say.
const versionOf = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")).version;

// Do jobs until there are no more. `apis` are objects whose functions are the scenarios, by the API they speak.
export const serve = async (apis, ...packages) => {
  const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  // What a client prints is no answer.
  for (const name of ["log", "info", "debug", "warn"]) console[name] = console.error;
  // Nor is an error that a client leaves to nobody an end.
  process.on("unhandledRejection", console.error);
  say(Object.fromEntries(packages.map((name) => [name, versionOf(name)])));
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    say(await apis[job.api][job.scenario](job).catch(ofError));
  }
};
