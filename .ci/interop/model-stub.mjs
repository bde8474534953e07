// A model that needs no network: enough of an OpenAI-compatible endpoint for a gateway to hold a chat with.
// It answers "stub says: <the last user text>" word by word, so a reader can tell a stream from a lump.
//
//   node model-stub.mjs PORT [DELAY_MS] [REQUEST_LOG]
//
// A message that contains "slowly" gets sixty numbered words more, for checks that need a long stream; in the middle of them
// the answer waits until /go-on?said=MESSAGE is asked for, so that a check has the time it needs to see the half of it.
// "word by word" gets them without the wait.
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const port = Number(process.argv[2] ?? 0);
const delayMs = Number(process.argv[3] ?? 40);
const requestLog = process.argv[4];

/** The text of a message's content: a string, or parts of which some are text. */
function textOf(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => part.text ?? "").join("");
}

/** What the person wrote last: gateways put the time before it, and notes of their own around and after it. */
function lastUserText(messages) {
  for (const message of messages.filter((message) => message.role === "user").reverse()) {
    const said = textOf(message.content)
      .replace(/<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>[^]*?<<<END_OPENCLAW_INTERNAL_CONTEXT>>>/g, "")
      .split("\n")
      .filter((line) => !line.startsWith("Runtime: "))
      .map((line) => line.replace(/^\[[^\]]*\]\s*/, "").trim())
      .filter((line) => line !== "");
    if (said.length > 0) return said.at(-1);
  }
  return "";
}

/** Answers that wait in their middle, or will. Nobody waits for ever: a check that failed does not hold the others up. */
const held = new Set();
const LONGEST_HOLD_MS = 120_000;

/** One answer's waiting: `over` is settled when it may go on. */
function hold(said, response) {
  const waiting = { said };
  waiting.over = new Promise((resolve) => {
    waiting.goOn = () => held.delete(waiting) && resolve();
    response.once("close", waiting.goOn);
    setTimeout(waiting.goOn, LONGEST_HOLD_MS).unref();
  });
  held.add(waiting);
  return waiting;
}

/** The words of the answer, each but the first with the space before it. */
function words(said) {
  let answer = `stub says: ${said}`;
  if (/slowly|word by word/.test(said)) for (let n = 1; n <= 60; n++) answer += ` word${n}`;
  return `${answer} (end)`.match(/\s*\S+/g);
}

function event(response, value) {
  response.write(`data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`);
}

async function complete(request, response) {
  const said = lastUserText(request.messages ?? []);
  const answer = words(said);
  const usage = { prompt_tokens: 10, completion_tokens: answer.length, total_tokens: 10 + answer.length };
  const base = { id: "chatcmpl-stub", created: 1, model: request.model };
  if (!request.stream) {
    const message = { role: "assistant", content: answer.join("") };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ ...base, object: "chat.completion", usage, choices: [{ index: 0, message, finish_reason: "stop" }] }));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const chunk = (delta, finish_reason = null) =>
    event(response, { ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] });
  chunk({ role: "assistant", content: "" });
  const middle = said.includes("slowly") ? answer.length - 30 : -1;
  const waiting = middle < 0 ? undefined : hold(said, response);
  for (const [n, word] of answer.entries()) {
    if (n === middle) await waiting.over;
    if (response.destroyed) return;
    chunk({ content: word });
    await pause(delayMs);
  }
  chunk({}, "stop");
  event(response, { ...base, object: "chat.completion.chunk", choices: [], usage });
  event(response, "[DONE]");
  response.end();
}

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", async () => {
    if (requestLog) appendFileSync(requestLog, `${request.method} ${request.url} ${body}\n`);
    if (request.method === "POST" && request.url.endsWith("/chat/completions")) {
      await complete(JSON.parse(body), response);
    } else if (request.url.startsWith("/go-on?")) {
      const said = new URL(request.url, "http://localhost").searchParams.get("said");
      for (const waiting of held) if (waiting.said === said) waiting.goOn();
      response.writeHead(204).end();
    } else if (request.url.endsWith("/models")) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ object: "list", data: [{ id: "stub", object: "model", created: 1, owned_by: "stub" }] }));
    } else {
      response.writeHead(404, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { message: `the stub has no ${request.method} ${request.url}` } }));
    }
  });
});
server.listen(port, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
