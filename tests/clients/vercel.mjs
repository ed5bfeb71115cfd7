// Runs one scenario with Vercel's AI SDK and one of its providers. The job comes as JSON on standard input.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, jsonSchema, streamText, tool } from "ai";

const job = JSON.parse(await new Response(process.stdin).text());
const { url, key: apiKey, prompt } = job;

const models = {
  compatible: createOpenAICompatible({ name: "gateway", baseURL: `${url}/v1`, apiKey, includeUsage: true }),
  responses: createOpenAI({ baseURL: `${url}/v1`, apiKey }),
  messages: createAnthropic({ baseURL: `${url}/v1`, apiKey }),
  google: createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey }),
};
const options = {
  responses: { openai: { store: false, include: ["reasoning.encrypted_content"] } },
  messages: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
  google: { google: { thinkingConfig: { includeThoughts: true } } },
};
const { name, description, parameters } = job.tool;
const price = ({ fruit, count }) => ({ price: `${count} ${fruit} cost ${count * 3} crowns` });
const call = {
  model: models[job.api](job.model),
  providerOptions: options[job.api] ?? {},
  prompt,
  maxRetries: 0,
  maxOutputTokens: 4096,
  tools: { [name]: tool({ description, inputSchema: jsonSchema(parameters), execute: price }) },
  stopWhen: isStepCount(3),
};

const answer = async () => {
  if (!job.isStreamed) return generateText(call);
  let failure;
  const result = streamText({ ...call, onError: ({ error }) => (failure = error) });
  await result.consumeStream();
  if (failure) throw failure;
  const [text, finishReason, usage] = await Promise.all([result.text, result.finishReason, result.usage]);
  return { text, finishReason, usage };
};

const said = await answer().then(
  ({ text, finishReason, usage: { inputTokens, outputTokens } }) => ({ text, stop: finishReason, usage: [inputTokens, outputTokens] }),
  (error) => ({ error: error.name, status: error.statusCode, message: error.message, isRetryable: error.isRetryable }),
);
console.log(JSON.stringify(said));
