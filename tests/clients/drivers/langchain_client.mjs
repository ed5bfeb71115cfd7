// LangChain.js, by its models for three vendors.

import { ChatAnthropic } from "@langchain/anthropic";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatGoogleGenerativeAI } from "@langchain/google-genai";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { priceOf, serve } from "./driver.mjs";

// By default it asks seven times, which takes a minute.
const maxRetries = 2;

const models = {
  chat: ({ url, key, model }) =>
    new ChatOpenAI({ model, apiKey: key, maxRetries, configuration: { baseURL: `${url}/v1` }, useResponsesApi: false }),
  responses: ({ url, key, model }) =>
    new ChatOpenAI({
      model,
      apiKey: key,
      maxRetries,
      configuration: { baseURL: `${url}/v1` },
      useResponsesApi: true,
      zdrEnabled: true,
    }),
  messages: ({ url, key, model }) => new ChatAnthropic({ model, apiKey: key, maxRetries, anthropicApiUrl: url, maxTokens: 4096 }),
  gemini: ({ url, key, model }) => new ChatGoogleGenerativeAI({ model, apiKey: key, maxRetries, baseUrl: url }),
};

const modelOf = (job) => models[job.api](job);

const of = ({ text, usage_metadata: usage }) => ({ text, usage: [usage?.input_tokens, usage?.output_tokens] });

const scenarios = {
  answer: async (job) => of(await modelOf(job).invoke(job.prompt)),
  stream: async (job) => {
    let whole;
    const pieces = [];
    for await (const chunk of await modelOf(job).stream(job.prompt)) {
      whole = whole ? whole.concat(chunk) : chunk;
      if (chunk.text) pieces.push(chunk.text);
    }
    return { ...of(whole), pieces };
  },
  tools: async (job) => {
    const { name, description, parameters: schema } = job.tool;
    const more = job.api === "responses" ? { include: ["reasoning.encrypted_content"] } : {};
    const model = modelOf(job).bindTools([tool(priceOf, { name, description, schema })], more);
    const messages = [new HumanMessage(job.prompt)];
    for (;;) {
      const said = await model.invoke(messages);
      if (!said.tool_calls?.length) return of(said);
      messages.push(said);
      for (const { id, name, args } of said.tool_calls)
        messages.push(new ToolMessage({ tool_call_id: id, name, content: priceOf(args) }));
    }
  },
  structured: async (job) => {
    const model = modelOf(job).withStructuredOutput({ title: "fruit", ...job.schema }, { name: "fruit" });
    return { parsed: await model.invoke(job.prompt) };
  },
  image: async (job) => {
    const url = `data:image/png;base64,${job.image}`;
    const content = [
      { type: "text", text: job.prompt },
      { type: "image_url", image_url: { url } },
    ];
    return of(await modelOf(job).invoke([new HumanMessage({ content })]));
  },
  embeddings: async ({ url, key, model, texts }) => {
    const embeddings = new OpenAIEmbeddings({ model, apiKey: key, configuration: { baseURL: `${url}/v1` } });
    return { vectors: await embeddings.embedDocuments(texts) };
  },
  cancel: async (job) => {
    const stop = new AbortController();
    for await (const { text } of await modelOf(job).stream(job.prompt, { signal: stop.signal }))
      if (text) {
        stop.abort();
        return { text };
      }
  },
};

const apis = Object.fromEntries(Object.keys(models).map((api) => [api, scenarios]));
await serve(apis, "@langchain/core", "@langchain/openai", "@langchain/anthropic", "@langchain/google-genai");
