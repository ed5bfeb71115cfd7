// OpenAI's JavaScript SDK.

import OpenAI from "openai";
import { collect, priceOf, serve } from "./driver.mjs";

const client = ({ url, key }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key });

const ofChat = ({ choices: [{ message }], usage }) => ({
  text: message.content,
  usage: [usage.prompt_tokens, usage.completion_tokens],
});

const messagesOf = ({ prompt }) => [{ role: "user", content: prompt }];

const chat = {
  answer: async (job) =>
    ofChat(await client(job).chat.completions.create({ model: job.model, messages: messagesOf(job) })),
  stream: async (job) => {
    const options = { include_usage: true };
    const asked = { model: job.model, messages: messagesOf(job), stream_options: options };
    const pieces = [];
    const stream = client(job).chat.completions.stream(asked);
    stream.on("content", (piece) => pieces.push(piece));
    return { ...ofChat(await stream.finalChatCompletion()), pieces };
  },
  tools: async (job) => {
    const messages = messagesOf(job);
    const tools = [{ type: "function", function: job.tool }];
    for (;;) {
      const said = await client(job).chat.completions.create({ model: job.model, messages, tools });
      const { message } = said.choices[0];
      if (!message.tool_calls?.length) return ofChat(said);
      messages.push(message);
      for (const { id, function: call } of message.tool_calls)
        messages.push({ role: "tool", tool_call_id: id, content: priceOf(JSON.parse(call.arguments)) });
    }
  },
  structured: async (job) => {
    const format = { type: "json_schema", json_schema: { name: "fruit", strict: true, schema: job.schema } };
    const asked = { model: job.model, messages: messagesOf(job), response_format: format };
    return { parsed: (await client(job).chat.completions.parse(asked)).choices[0].message.parsed };
  },
  image: async (job) => {
    const url = `data:image/png;base64,${job.image}`;
    const content = [{ type: "text", text: job.prompt }, { type: "image_url", image_url: { url } }];
    return ofChat(
      await client(job).chat.completions.create({ model: job.model, messages: [{ role: "user", content }] }),
    );
  },
  embeddings: async (job) => {
    const { data } = await client(job).embeddings.create({ model: job.model, input: job.texts });
    return { vectors: data.map(({ embedding }) => embedding) };
  },
  cancel: async (job) => {
    const asked = { model: job.model, messages: messagesOf(job), stream: true };
    // To leave the loop is to leave the stream.
    for await (const { choices } of await client(job).chat.completions.create(asked))
      if (choices[0].delta.content) return { text: choices[0].delta.content };
  },
};

const ofResponse = ({ output_text, usage }) => ({
  text: output_text,
  usage: [usage.input_tokens, usage.output_tokens],
});

const isText = (event) => event.type === "response.output_text.delta";

const responses = {
  answer: async (job) => ofResponse(await client(job).responses.create({ model: job.model, input: job.prompt })),
  stream: async (job) => {
    const stream = client(job).responses.stream({ model: job.model, input: job.prompt });
    const pieces = await collect(stream, (event) => isText(event) && event.delta);
    return { ...ofResponse(await stream.finalResponse()), pieces };
  },
  tools: async (job) => {
    const input = messagesOf(job);
    const include = ["reasoning.encrypted_content"];
    const tools = [{ type: "function", strict: false, ...job.tool }];
    for (;;) {
      const said = await client(job).responses.create({ model: job.model, input, include, store: false, tools });
      const calls = said.output.filter((item) => item.type === "function_call");
      if (!calls.length) return ofResponse(said);
      input.push(...said.output);
      for (const { call_id, arguments: text } of calls)
        input.push({ type: "function_call_output", call_id, output: priceOf(JSON.parse(text)) });
    }
  },
  structured: async (job) => {
    const format = { type: "json_schema", name: "fruit", strict: true, schema: job.schema };
    const said = await client(job).responses.parse({ model: job.model, input: job.prompt, text: { format } });
    return { parsed: said.output_parsed };
  },
  image: async (job) => {
    const image_url = `data:image/png;base64,${job.image}`;
    const content = [{ type: "input_text", text: job.prompt }, { type: "input_image", detail: "auto", image_url }];
    return ofResponse(await client(job).responses.create({ model: job.model, input: [{ role: "user", content }] }));
  },
  cancel: async (job) => {
    const stream = await client(job).responses.create({ model: job.model, input: job.prompt, stream: true });
    for await (const event of stream) if (isText(event)) return { text: event.delta };
  },
};

await serve({ chat, responses }, "openai");
