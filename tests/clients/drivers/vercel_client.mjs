// Vercel's AI SDK, by its providers for each API.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, isStepCount, jsonSchema, Output, streamText, tool } from "ai";
import { collect, priceOf, serve } from "./driver.mjs";

const providers = {
  chat: ({ url, key: apiKey }) =>
    createOpenAICompatible({
      name: "gateway",
      baseURL: `${url}/v1`,
      apiKey,
      includeUsage: true,
      supportsStructuredOutputs: true,
    }),
  responses: ({ url, key: apiKey }) => createOpenAI({ baseURL: `${url}/v1`, apiKey }),
  messages: ({ url, key: apiKey }) => createAnthropic({ baseURL: `${url}/v1`, apiKey }),
  gemini: ({ url, key: apiKey }) => createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey }),
};

const options = {
  responses: { openai: { store: false, include: ["reasoning.encrypted_content"] } },
  messages: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
  gemini: { google: { thinkingConfig: { includeThoughts: true } } },
};

// Its provider for Google takes a name with a slash for the whole path.
const nameOf = ({ api, model }) => (api === "gemini" ? `models/${model}` : model);

const callOf = (job) => ({ model: providers[job.api](job)(nameOf(job)), prompt: job.prompt, maxOutputTokens: 4096 });

const of = ({ text, usage }) => ({ text, usage: [usage.inputTokens, usage.outputTokens] });

// An error in mid-stream is told to a function of the caller's, and not thrown.
const streamed = async (call, of) => {
  let failure;
  const result = streamText({ ...call, onError: ({ error }) => (failure = error) });
  const said = await of(result);
  if (failure) throw failure;
  return said;
};

const scenarios = {
  answer: async (job) => of(await generateText(callOf(job))),
  stream: (job) =>
    streamed(callOf(job), async (result) => {
      const pieces = await collect(result.textStream, (piece) => piece);
      return { ...of({ text: await result.text, usage: await result.usage }), pieces };
    }),
  tools: async (job) => {
    const { name, description, parameters } = job.tool;
    const tools = { [name]: tool({ description, inputSchema: jsonSchema(parameters), execute: priceOf }) };
    const call = { ...callOf(job), providerOptions: options[job.api] ?? {}, tools, stopWhen: isStepCount(3) };
    return { text: (await generateText(call)).text };
  },
  structured: async (job) => {
    const output = Output.object({ schema: jsonSchema(job.schema) });
    return { parsed: (await generateText({ ...callOf(job), output })).output };
  },
  image: async (job) => {
    const content = [
      { type: "text", text: job.prompt },
      { type: "image", image: job.image, mediaType: "image/png" },
    ];
    const { prompt, ...call } = callOf(job);
    return of(await generateText({ ...call, messages: [{ role: "user", content }] }));
  },
  embeddings: async (job) => {
    const model = providers[job.api](job).embeddingModel(nameOf(job));
    return { vectors: (await embedMany({ model, values: job.texts })).embeddings };
  },
  cancel: (job) => {
    const stop = new AbortController();
    return streamed({ ...callOf(job), abortSignal: stop.signal }, async ({ textStream }) => {
      for await (const text of textStream)
        if (text) {
          stop.abort();
          return { text };
        }
    });
  },
};

const apis = Object.fromEntries(Object.keys(providers).map((api) => [api, scenarios]));
await serve(apis, "ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "@ai-sdk/google");
