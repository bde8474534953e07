// kill -9 of clawline-gateway at random moments around chat.send.
//
//   node kill9.mjs ROUNDS PORT MODEL_REQUEST_LOG TOKEN_FILE GATEWAY_COMMAND...
//
// A round sends messages, kills the gateway after some acknowledgements and a few milliseconds more, starts it again and
// looks: what was acknowledged
// is in the transcript once, the same key sent again is no failure and no second run, and nothing runs for ever.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Wire } from "./wire.mjs";

const [rounds, port, requestLog, tokenFile, ...command] = process.argv.slice(2);
const MESSAGES = 6;
let failures = 0;

function claim(holds, text) {
  if (holds) return;
  failures += 1;
  console.log(`  WRONG: ${text}`);
}

async function within(ms, what, attempt) {
  const until = Date.now() + ms;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > until) throw new Error(`${what}: ${error.message}`);
      await pause(5);
    }
  }
}

async function start() {
  const child = spawn(command[0], command.slice(1), { stdio: "ignore" });
  const exited = once(child, "exit");
  const wire = await within(90_000, "the gateway did not come up", () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return Wire.open(Number(port), readFileSync(tokenFile, "utf8").trim());
  });
  return { child, exited, wire };
}

async function texts(wire, sessionKey, role) {
  const { messages } = await wire.call("chat.history", { sessionKey, limit: 1000 });
  const text = (content) => (typeof content === "string" ? content : content.map((part) => part.text ?? "").join(""));
  return messages.filter((message) => message.role === role).map((message) => text(message.content));
}

const count = (list, part) => list.filter((text) => text.includes(part)).length;
const modelCalls = (mark) => readFileSync(requestLog, "utf8").split("\n").filter((line) => lastUser(line).includes(mark)).length;
function lastUser(line) {
  if (!line.includes("/chat/completions ")) return "";
  const { messages } = JSON.parse(line.slice(line.indexOf("{")));
  return JSON.stringify(messages.filter((message) => message.role === "user").at(-1)?.content ?? "");
}

let { child, exited, wire } = await start();
const seen = { acknowledged: 0, open: 0 };
for (let round = 1; round <= Number(rounds); round++) {
  const wrongBefore = failures;
  const sessionKey = `agent:main:kill${round}`;
  const sent = Array.from({ length: MESSAGES }, (_, n) => ({
    sessionKey,
    message: `round${round}-message${n}-`,
    idempotencyKey: `kill9-${process.pid}-${round}-${n}`,
  }));
  const acknowledged = new Set();
  const sending = (async () => {
    for (const params of sent) {
      const { status } = await wire.call("chat.send", params);
      claim(["started", "in_flight", "ok"].includes(status), `chat.send answered ${status}`);
      acknowledged.add(params);
    }
  })().catch(() => {});
  // From the moment that sending begins to the last acknowledgement, however long a machine takes for one.
  const killAt = (round - 1) % MESSAGES;
  await within(60_000, "no acknowledgement", () => {
    if (acknowledged.size < killAt) throw new Error(`${acknowledged.size} came`);
  });
  const killAfter = Math.random() ** 2 * 50;
  await pause(killAfter);
  child.kill("SIGKILL");
  await exited;
  await sending;
  ({ child, exited, wire } = await start());

  const user = await texts(wire, sessionKey, "user");
  for (const params of sent) {
    const times = count(user, params.message);
    if (acknowledged.has(params)) claim(times === 1, `${params.message} was acknowledged and is there ${times} times`);
    else claim(times <= 1, `${params.message} is there ${times} times`);
  }
  // The laptop does not know what arrived: it sends everything again, twice.
  for (const params of [...sent, ...sent]) {
    await wire.call("chat.send", params).catch((error) => claim(false, `${params.message} sent again: ${error.message}`));
  }
  for (const params of sent) {
    const { status } = await wire.call("agent.wait", { runId: params.idempotencyKey, timeoutMs: 90_000 });
    claim(status !== "timeout", `${params.message} still runs after 90 s`);
  }
  const after = { user: await texts(wire, sessionKey, "user"), assistant: await texts(wire, sessionKey, "assistant") };
  for (const { message } of sent) {
    claim(count(after.user, message) === 1, `${message} is there ${count(after.user, message)} times after all`);
    claim(count(after.assistant, message) <= 1, `${message} was answered ${count(after.assistant, message)} times`);
    claim(modelCalls(message) <= 1, `${message} was given to the model ${modelCalls(message)} times`);
  }
  const conflict = await wire.call("chat.send", { ...sent[0], message: "another body" }).then(() => null, (error) => error.refused);
  claim(conflict, "the same key with another body was not refused");
  seen.acknowledged += acknowledged.size;
  seen.open += MESSAGES - acknowledged.size;
  console.log(`round ${round}: killed ${killAfter.toFixed(1)} ms after ${killAt} acknowledgements, ${acknowledged.size} of ${MESSAGES} acknowledged, ${failures - wrongBefore} wrong`);
}
wire.close();
child.kill("SIGTERM");
const [code] = await exited;
claim(code === 0, `SIGTERM ended the gateway with ${code}`);
claim(seen.acknowledged > 0, "no kill came after an acknowledgement");
console.log(`figure kills: ${rounds}, ${seen.acknowledged} acknowledged before a kill, ${seen.open} not, ${failures} wrong`);
process.exit(failures === 0 ? 0 : 1);
