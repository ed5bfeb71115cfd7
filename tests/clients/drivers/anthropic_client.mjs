// Anthropic's JavaScript SDK.

import Anthropic from "@anthropic-ai/sdk";
import { priceOf, serve } from "./driver.mjs";

const client = ({ url, key }) => new Anthropic({ baseURL: url, apiKey: key });

const askedOf = ({ model, prompt }) => ({ model, max_tokens: 4096, messages: [{ role: "user", content: prompt }] });

const textOf = ({ content }) => content.filter(({ type }) => type === "text").map(({ text }) => text).join("");

const of = (said) => ({ text: textOf(said), usage: [said.usage.input_tokens, said.usage.output_tokens] });

const messages = {
  answer: async (job) => of(await client(job).messages.create(askedOf(job))),
  stream: async (job) => {
    const pieces = [];
    const stream = client(job).messages.stream(askedOf(job)).on("text", (piece) => pieces.push(piece));
    return { ...of(await stream.finalMessage()), pieces };
  },
  // The SDK runs the tool by itself.
  tools: async (job) => {
    const { name, description, parameters } = job.tool;
    const tool = { type: "custom", name, description, input_schema: parameters, parse: (input) => input, run: priceOf };
    const thinking = { type: "enabled", budget_tokens: 1024 };
    return of(await client(job).beta.messages.toolRunner({ ...askedOf(job), thinking, tools: [tool], thread: false }));
  },
  structured: async (job) => {
    const format = { type: "json_schema", schema: job.schema };
    const said = await client(job).messages.parse({ ...askedOf(job), output_config: { format } });
    return { parsed: said.parsed_output ?? JSON.parse(textOf(said)) };
  },
  image: async (job) => {
    const source = { type: "base64", media_type: "image/png", data: job.image };
    const content = [{ type: "text", text: job.prompt }, { type: "image", source }];
    return of(await client(job).messages.create({ ...askedOf(job), messages: [{ role: "user", content }] }));
  },
  cancel: async (job) => {
    // To leave the loop is to leave the stream.
    for await (const { delta } of await client(job).messages.create({ ...askedOf(job), stream: true }))
      if (delta?.text) return { text: delta.text };
  },
};

await serve({ messages }, "@anthropic-ai/sdk");
