// Runs one scenario with one of the vendors' JavaScript SDKs. The job comes as JSON on standard input; what the SDK
// made of the answer goes to standard output, in the same words for all of them.

import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const job = JSON.parse(await new Response(process.stdin).text());
const { url, key, model, prompt, tool } = job;
const MANY = 4096;

// What the tool of the scenarios answers: it looks the price of a fruit up.
const price = ({ fruit, count }) => ({ price: `${count} ${fruit} cost ${count * 3} crowns` });

const openai = () => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = () => new Anthropic({ baseURL: url, authToken: key, apiKey: null, maxRetries: 0 });
const google = () => new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url, retryOptions: { attempts: 1 } } });

// OpenAI: chat completions.

const messages = [{ role: "user", content: prompt }];
const chatTool = { type: "function", function: tool };
const runnableTool = { type: "function", function: { ...tool, parse: JSON.parse, function: price } };
const ofChat = ({ choices: [{ message, finish_reason }], usage, model }) => ({
  text: message.content,
  stop: finish_reason,
  usage: [usage.prompt_tokens, usage.completion_tokens],
  model,
});

const complete = async (parameters, isStreamed) => {
  if (!isStreamed) return openai().chat.completions.create(parameters);
  const options = { include_usage: true };
  return openai().chat.completions.stream({ ...parameters, stream_options: options }).finalChatCompletion();
};

const chatWithTools = async (isStreamed) => {
  const history = [...messages];
  for (;;) {
    const completion = await complete({ model, messages: history, tools: [chatTool] }, isStreamed);
    const { message } = completion.choices[0];
    if (!message.tool_calls?.length) return ofChat(completion);
    history.push(message);
    for (const { id, function: call } of message.tool_calls)
      history.push({ role: "tool", tool_call_id: id, content: JSON.stringify(price(JSON.parse(call.arguments))) });
  }
};

const chat = {
  plain: async () => ofChat(await openai().chat.completions.create({ model, messages })),
  streamed: async () => {
    const options = { include_usage: true };
    const stream = openai().chat.completions.stream({ model, messages, stream_options: options });
    const pieces = [];
    stream.on("content", (piece) => pieces.push(piece));
    return { ...ofChat(await stream.finalChatCompletion()), pieces };
  },
  tools: () => chatWithTools(false),
  "streamed tools": () => chatWithTools(true),
  // The SDK's own loop, which does not send back what it does not know.
  runner: async () => {
    const runner = openai().chat.completions.runTools({ model, messages, tools: [runnableTool] });
    return { ...ofChat(await runner.finalChatCompletion()), text: await runner.finalContent() };
  },
};

// OpenAI: Responses.

const ofResponse = ({ output_text, status, usage, model }) => ({
  text: output_text,
  stop: status,
  usage: [usage.input_tokens, usage.output_tokens],
  model,
});

const respond = async (parameters, isStreamed) => {
  if (!isStreamed) return openai().responses.create(parameters);
  return openai().responses.stream(parameters).finalResponse();
};

const respondWithTools = async (isStreamed) => {
  const input = [...messages];
  const include = ["reasoning.encrypted_content"];
  const parameters = { model, input, include, store: false, tools: [{ type: "function", strict: false, ...tool }] };
  for (;;) {
    const response = await respond(parameters, isStreamed);
    const calls = response.output.filter((item) => item.type === "function_call");
    if (!calls.length) return ofResponse(response);
    input.push(...response.output);
    for (const { call_id, arguments: text } of calls)
      input.push({ type: "function_call_output", call_id, output: JSON.stringify(price(JSON.parse(text))) });
  }
};

const responses = {
  plain: async () => ofResponse(await respond({ model, input: prompt }, false)),
  streamed: async () => {
    const stream = openai().responses.stream({ model, input: prompt });
    const pieces = [];
    stream.on("response.output_text.delta", ({ delta }) => pieces.push(delta));
    return { ...ofResponse(await stream.finalResponse()), pieces };
  },
  tools: () => respondWithTools(false),
  "streamed tools": () => respondWithTools(true),
};

// Anthropic: messages.

const messagesTool = { name: tool.name, description: tool.description, input_schema: tool.parameters };
const base = { model, max_tokens: MANY, messages };
const ofMessage = ({ content, stop_reason, usage, model }) => ({
  text: content.filter(({ type }) => type === "text").map(({ text }) => text).join(""),
  stop: stop_reason,
  usage: [usage.input_tokens, usage.output_tokens],
  model,
});

const runner = (stream, more = { thread: false }) => {
  const tools = [{ ...messagesTool, type: "custom", parse: (input) => input, run: (input) => JSON.stringify(price(input)) }];
  const thinking = { type: "enabled", budget_tokens: 1024 };
  return anthropic().beta.messages.toolRunner({ ...base, thinking, tools, stream, ...more });
};

const claude = {
  plain: async () => ofMessage(await anthropic().messages.create(base)),
  streamed: async () => {
    const pieces = [];
    const stream = anthropic().messages.stream(base).on("text", (piece) => pieces.push(piece));
    return { ...ofMessage(await stream.finalMessage()), pieces };
  },
  tools: async () => ofMessage(await runner(false)),
  // As the SDK does it by itself: it asks the provider to keep the conversation, and does without where it must.
  threads: async () => ofMessage(await runner(false, {})),
  "streamed tools": async () => {
    let last;
    for await (const stream of runner(true)) last = await stream.finalMessage();
    return ofMessage(last);
  },
};

// Google: generateContent.

const ofContent = ({ text, candidates, usageMetadata: usage, modelVersion }) => ({
  text,
  stop: candidates[0].finishReason,
  usage: [usage.promptTokenCount, usage.candidatesTokenCount + (usage.thoughtsTokenCount ?? 0)],
  model: modelVersion,
});

const chatOfGoogle = () => {
  const { name, description, parameters: parametersJsonSchema } = tool;
  const tools = [{ functionDeclarations: [{ name, description, parametersJsonSchema }] }];
  return google().chats.create({ model, config: { tools, thinkingConfig: { includeThoughts: true } } });
};

const answersOf = (calls) =>
  calls.map(({ id, name, args }) => ({ functionResponse: { id, name, response: price(args) } }));

const gemini = {
  plain: async () => ofContent(await google().models.generateContent({ model, contents: prompt })),
  streamed: async () => {
    const pieces = [];
    let last;
    for await (last of await google().models.generateContentStream({ model, contents: prompt }))
      if (last.text) pieces.push(last.text);
    return { ...ofContent(last), text: pieces.join(""), pieces };
  },
  tools: async () => {
    const chat = chatOfGoogle();
    let answer = await chat.sendMessage({ message: prompt });
    while (answer.functionCalls?.length) answer = await chat.sendMessage({ message: answersOf(answer.functionCalls) });
    return ofContent(answer);
  },
  "streamed tools": async () => {
    const chat = chatOfGoogle();
    for (let message = prompt; ; ) {
      const calls = [];
      let last;
      let text = "";
      for await (last of await chat.sendMessageStream({ message })) {
        calls.push(...(last.functionCalls ?? []));
        text += last.text ?? "";
      }
      if (!calls.length) return { ...ofContent(last), text };
      message = answersOf(calls);
    }
  },
};

const ofError = (error) => ({
  error: error.constructor.name,
  status: error.status,
  message: error.message,
  code: error.code ?? null,
  type: error.type ?? null,
  id: error.requestID ?? null,
});

const scenarios = { chat, responses, messages: claude, google: gemini };
console.log(JSON.stringify(await scenarios[job.api][job.scenario]().catch(ofError)));
