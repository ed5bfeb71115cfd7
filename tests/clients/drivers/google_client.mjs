// Google's JavaScript SDK.

import { GoogleGenAI } from "@google/genai";
import { collect, priceOf, serve } from "./driver.mjs";

// This SDK asks once, unless it is told otherwise.
const options = (url) => ({ baseUrl: url, retryOptions: { attempts: 3 } });

const client = ({ url, key }) => new GoogleGenAI({ apiKey: key, httpOptions: options(url) });

const of = ({ text, usageMetadata: usage }) => ({
  text,
  usage: [usage.promptTokenCount, usage.candidatesTokenCount + (usage.thoughtsTokenCount ?? 0)],
});

const ask = (job, contents, config = {}) =>
  client(job).models.generateContent({ model: job.model, contents, config });

const gemini = {
  answer: async (job) => of(await ask(job, job.prompt)),
  stream: async (job) => {
    let last;
    const stream = await client(job).models.generateContentStream({ model: job.model, contents: job.prompt });
    const pieces = await collect(stream, (chunk) => (last = chunk).text);
    return { ...of(last), text: pieces.join(""), pieces };
  },
  tools: async (job) => {
    const { name, description, parameters: parametersJsonSchema } = job.tool;
    const tools = [{ functionDeclarations: [{ name, description, parametersJsonSchema }] }];
    const config = { tools, thinkingConfig: { includeThoughts: true } };
    const chat = client(job).chats.create({ model: job.model, config });
    let said = await chat.sendMessage({ message: job.prompt });
    while (said.functionCalls?.length) {
      const message = said.functionCalls.map(({ id, name, args }) => ({
        functionResponse: { id, name, response: { price: priceOf(args) } },
      }));
      said = await chat.sendMessage({ message });
    }
    return of(said);
  },
  structured: async (job) => {
    const config = { responseMimeType: "application/json", responseJsonSchema: job.schema };
    return { parsed: JSON.parse((await ask(job, job.prompt, config)).text) };
  },
  image: async (job) => of(await ask(job, [job.prompt, { inlineData: { mimeType: "image/png", data: job.image } }])),
  embeddings: async (job) => {
    const { embeddings } = await client(job).models.embedContent({ model: job.model, contents: job.texts });
    return { vectors: embeddings.map(({ values }) => values) };
  },
  cancel: async (job) => {
    const stop = new AbortController();
    const config = { abortSignal: stop.signal };
    const asked = { model: job.model, contents: job.prompt, config };
    for await (const { text } of await client(job).models.generateContentStream(asked))
      if (text) {
        stop.abort();
        return { text };
      }
  },
};

await serve({ gemini }, "@google/genai");
