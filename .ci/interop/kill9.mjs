// kill -9 of clawline-gateway at random moments under load, on a disk that fails in every fourth round.
//
//   node kill9.mjs ROUNDS PORT MODEL_REQUEST_LOG STATE_DIR GATEWAY_COMMAND...
//
// A round: several connections send messages at the same time, each to a session of its own; after a random number of
// acknowledgements, and a few milliseconds more, the gateway is killed. It is started again, and the same is looked at in
// every round: it opens and finds its file sound; what was acknowledged is in the transcript once, and nothing is there
// twice; everything sent again, twice, is no failure and no second message; each run has an answer or is marked, none goes on
// for ever, and none was given to the model twice; a key with another body is refused.
//
// Every fourth round has one of these beside, in turn (STATE_DIR is a small file system of its own, mounted by root):
//   fsync  from a random one on each fsync and fdatasync fails with EIO (strace makes it so)
//   full   the file system is full; half of the time space comes back before the kill
//   ro     from a random one on each write to the store fails with EROFS, as when the kernel turns a file system read-only;
//          after the kill it is mounted read-only, and the gateway says so and ends
// What was begun after a failed flush or write is never acknowledged, reading goes on, and /readyz says 503.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readdirSync, readSync, rmSync, statSync, truncateSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Wire } from "./wire.mjs";

const [rounds, port, requestLog, stateDir, ...command] = process.argv.slice(2);
const CONNECTIONS = 6;
/** Acknowledgements before a kill, at most; what a connection sends when nothing stops it. */
const ACKNOWLEDGED = 60;
const MESSAGES = 40;
/** Messages that a connection still sends once something was refused. */
const AFTER_REFUSAL = 4;
const DEADLINE = 90_000;
const FAULTS = ["fsync", "full", "ro"];

const seen = { kills: 0, acknowledged: 0, unsure: 0, refused: 0, marked: 0, faults: { fsync: 0, full: 0, ro: 0 } };
let failures = 0;
const claim = (holds, text) => holds || ((failures += 1), console.log(`  WRONG: ${text}`));
const random = (below) => Math.floor(Math.random() * below);

async function within(ms, what, attempt) {
  for (const until = Date.now() + ms; ; await pause(10)) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > until) throw new Error(`${what}: ${error.message}`);
    }
  }
}

// ---- the gateway -----------------------------------------------------------------------------------------------------

/** The gateway, with all its connections; under strace when calls of these names are to fail from the given one on. */
async function start(fault) {
  const strace = fault && ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", `trace=${fault.calls}`, "-e", `inject=${fault.calls}:error=${fault.error}:when=${fault.from}+`];
  const [program, ...args] = fault ? [...strace, ...command] : command;
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  const exited = once(child, "exit");
  const open = () => Wire.open(Number(port), readFileSync(`${stateDir}/clawline-gateway/token`, "utf8").trim(), DEADLINE);
  const first = await within(DEADLINE, "the gateway did not come up", () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return open();
  });
  const others = await Promise.all(Array.from({ length: CONNECTIONS - 1 }, open));
  return { child, exited, wires: [first, ...others] };
}

/** SIGKILL to the gateway, and to strace around it; both have gone then, and the gateway's lock and port with it. */
async function kill({ child, exited }) {
  process.kill(-child.pid, "SIGKILL");
  await exited;
  await within(DEADLINE, "it does not die", () => {
    if (isRunning(child.pid)) throw new Error("SIGKILL was sent");
  });
  seen.kills += 1;
}

/** Is anything of this process group more than a zombie? */
function isRunning(group) {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).some((pid) => {
    try {
      const [state, , pgrp] = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
      return Number(pgrp) === group && state !== "Z" && state !== "X";
    } catch {
      return false;
    }
  });
}

/** SIGTERM, before a round that needs a gateway of its own. */
async function stop({ child, exited, wires }) {
  for (const wire of wires) wire.close();
  child.kill("SIGTERM");
  const [code] = await exited;
  claim(code === 0, `SIGTERM ended the gateway with ${code}`);
}

// ---- the load --------------------------------------------------------------------------------------------------------

const keyOf = (round, connection) => `agent:main:kill${round}c${connection}`;
const markOf = (round, connection, n) => `round${round}-m${connection}x${n}-`;

/** What every connection sends, and what became of it. `ended` once nobody sends any more. */
function load({ wires }, round, { size = 10, from = 0 } = {}) {
  const state = { acknowledged: [], refused: [], unsure: [], clock: 0, failedAt: undefined, why: undefined, late: [] };
  const send = async (wire, connection) => {
    let left = AFTER_REFUSAL;
    for (let n = from; n < from + MESSAGES && left > 0; n++) {
      const mark = markOf(round, connection, n);
      const params = { sessionKey: keyOf(round, connection), message: mark + "x".repeat(size), idempotencyKey: `kill9-${process.pid}-${round}-${connection}-${n}` };
      const sent = { mark, params };
      const begun = state.clock++;
      try {
        const { status } = await wire.call("chat.send", params);
        claim(["started", "in_flight", "ok"].includes(status), `chat.send answered ${status}`);
        state.acknowledged.push(sent);
        if (begun >= (state.failedAt ?? Infinity)) state.late.push(mark);
      } catch (error) {
        if (!error.refused) return state.unsure.push(sent);
        state.refused.push(sent);
        state.failedAt ??= state.clock;
        state.why ??= error.message;
        left -= 1;
      }
    }
  };
  state.ended = Promise.all(wires.map(send));
  return state;
}

/** Until so many are acknowledged, or nobody sends any more. */
async function acknowledged(state, many) {
  let isOver = false;
  state.ended.then(() => (isOver = true));
  while (state.acknowledged.length < many && !isOver) await pause(1);
}

/** Until something is refused. */
async function refused(state, what) {
  let isOver = false;
  state.ended.then(() => (isOver = true));
  while (state.failedAt === undefined && !isOver) await pause(1);
  claim(state.failedAt !== undefined, `${what}, and everything was acknowledged`);
}

/** A store that failed for good: reading goes on, and nobody is told that it is ready. */
async function isReadOnly({ wires }, round) {
  const readable = await wires[0].call("chat.history", { sessionKey: keyOf(round, 0), limit: 5 }).then(() => true, (error) => error.message);
  claim(readable === true, `round ${round}: the history cannot be read: ${readable}`);
  const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then((response) => response.status, () => 0);
  claim(ready === 503, `round ${round}: /readyz says ${ready} although nothing can be written`);
}

// ---- the rounds ------------------------------------------------------------------------------------------------------

/** Each kills the gateway under load; gives what was sent, and what is worth saying. */
const cases = {
  async none(round, running) {
    const many = random(ACKNOWLEDGED + 1);
    const state = load(running, round);
    await acknowledged(state, many);
    await pause(Math.random() * 20);
    await kill(running);
    await state.ended;
    return { states: [state], told: `killed after ${many} acknowledgements` };
  },
  async fsync(round, running) {
    await stop(running);
    const failing = await start({ calls: "fsync,fdatasync", error: "EIO", from: 10 + random(60) });
    const state = load(failing, round);
    await refused(state, `round ${round}: flushes failed`);
    await isReadOnly(failing, round);
    await pause(Math.random() * 30);
    await kill(failing);
    await state.ended;
    claim(state.late.length === 0, `round ${round}: acknowledged after a flush had failed: ${state.late}`);
    return { states: [state], told: `a flush failed: ${state.why}` };
  },
  async full(round, before) {
    // A clean stop leaves no log file with room in it.
    await stop(before);
    const running = await start();
    const ballast = `${stateDir}/ballast`;
    try {
      execFileSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=64k"], { stdio: "ignore" });
    } catch {
      // It ends when there is no space left, which is what is wanted: a little of it is given back.
    }
    truncateSync(ballast, statSync(ballast).size - 2 * 1024 * 1024);
    const state = load(running, round, { size: 20_000 });
    await refused(state, `round ${round}: the disk is full`);
    if (random(2)) {
      await pause(Math.random() * 30);
      await kill(running);
      await state.ended;
      rmSync(ballast);
      return { states: [state], told: `full: ${state.why}; killed while it was` };
    }
    await state.ended;
    rmSync(ballast);
    let probes = 1000;
    const back = await within(DEADLINE, "nothing is taken although there is space again", async () => {
      const mark = markOf(round, 0, probes);
      const params = { sessionKey: keyOf(round, 0), message: mark, idempotencyKey: `kill9-${process.pid}-${round}-0-${probes++}` };
      await running.wires[0].call("chat.send", params);
      return { mark, params };
    });
    const more = load(running, round, { from: MESSAGES });
    await acknowledged(more, random(ACKNOWLEDGED));
    await kill(running);
    await more.ended;
    more.acknowledged.push(back);
    return { states: [state, more], told: `full: ${state.why}; killed when there was space again` };
  },
  async ro(round, running) {
    await stop(running);
    const failing = await start({ calls: "pwrite64", error: "EROFS", from: 60 + random(400) });
    const state = load(failing, round);
    await refused(state, `round ${round}: writes failed`);
    await isReadOnly(failing, round);
    await pause(Math.random() * 30);
    await kill(failing);
    await state.ended;
    claim(state.late.length === 0, `round ${round}: acknowledged after a write had failed: ${state.late}`);
    await within(DEADLINE, "the file system cannot be made read-only", () => execFileSync("mount", ["-o", "remount,ro", stateDir], { stdio: "ignore" }));
    const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (piece) => (said += piece));
    const code = await Promise.race([once(child, "close").then(([code]) => code), pause(DEADLINE, "running", { ref: false })]);
    if (code === "running") child.kill("SIGKILL");
    claim(code !== 0 && code !== "running" && /read-only|cannot/i.test(said), `round ${round}: on a read-only file system it ended with ${code} and said: ${said}`);
    execFileSync("mount", ["-o", "remount,rw", stateDir], { stdio: "ignore" });
    return { states: [state], told: `read-only: ${state.why}; started so: exit code ${code}` };
  },
};

// ---- what must hold after each -----------------------------------------------------------------------------------------

/** How often each mark is in these texts. */
function counted(texts) {
  const counts = new Map();
  for (const text of texts) for (const [mark] of text.matchAll(/round\d+-m\d+x\d+-/g)) counts.set(mark, (counts.get(mark) ?? 0) + 1);
  return (mark) => counts.get(mark) ?? 0;
}

/** How often each mark is in the transcripts of a round. */
async function transcripts({ wires }, round) {
  const texts = { user: [], assistant: [] };
  const text = (content) => (typeof content === "string" ? content : content.map((part) => part.text ?? "").join(""));
  for (const [connection, wire] of wires.entries()) {
    const { messages } = await wire.call("chat.history", { sessionKey: keyOf(round, connection), limit: 1000 });
    for (const { role, content } of messages) texts[role]?.push(text(content));
  }
  return { user: counted(texts.user), assistant: counted(texts.assistant) };
}

/** How often the model was asked for each mark; only what is new in the log is read. */
const asked = { at: 0, rest: "", texts: [] };
function modelCalls() {
  const file = openSync(requestLog, "r");
  const piece = Buffer.alloc(1 << 20);
  const pieces = [];
  for (let read; (read = readSync(file, piece, 0, piece.length, asked.at)) > 0; asked.at += read) pieces.push(Buffer.from(piece.subarray(0, read)));
  closeSync(file);
  const lines = (asked.rest + Buffer.concat(pieces).toString()).split("\n");
  asked.rest = lines.pop();
  for (const line of lines.filter((line) => line.includes("/chat/completions "))) {
    const { messages } = JSON.parse(line.slice(line.indexOf("{")));
    const last = messages.filter((message) => message.role === "user").at(-1);
    asked.texts.push(JSON.stringify(last?.content ?? "").match(/round\d+-m\d+x\d+-/)?.[0] ?? "");
  }
  return counted(asked.texts);
}

/** `act` for each, spread over all connections. */
const spread = ({ wires }, list, act) => Promise.all(wires.map(async (wire, at) => {
  for (let n = at; n < list.length; n += wires.length) await act(wire, list[n]);
}));

async function accounts(running, round, states) {
  await within(DEADLINE, "the store does not say that it is sound", async () => {
    const { store } = await running.wires[0].call("health", {});
    if (!store.ok || store.checking) throw new Error(JSON.stringify(store));
  });
  const of = (what) => states.flatMap((state) => state[what]);
  const before = await transcripts(running, round);
  for (const { mark } of of("acknowledged")) claim(before.user(mark) === 1, `${mark} was acknowledged and is there ${before.user(mark)} times`);
  for (const { mark } of [...of("unsure"), ...of("refused")]) claim(before.user(mark) <= 1, `${mark} is there ${before.user(mark)} times`);
  // The laptop does not know what arrived: it sends everything again, twice.
  const all = [...of("acknowledged"), ...of("unsure"), ...of("refused")];
  for (let copy = 0; copy < 2; copy++) {
    await spread(running, all, (wire, { mark, params }) => wire.call("chat.send", params).catch((error) => claim(false, `${mark} sent again: ${error.message}`)));
  }
  const ends = new Map();
  await spread(running, all, async (wire, { mark, params }) => {
    ends.set(mark, await wire.call("agent.wait", { runId: params.idempotencyKey, timeoutMs: DEADLINE }));
  });
  const after = await transcripts(running, round);
  const calls = modelCalls();
  for (const { mark } of all) {
    const { status } = ends.get(mark);
    claim(after.user(mark) === 1, `${mark} is there ${after.user(mark)} times after all`);
    claim(status === "ok" ? after.assistant(mark) === 1 : status === "error" && after.assistant(mark) <= 1, `${mark} ended with ${status} and was answered ${after.assistant(mark)} times`);
    claim(calls(mark) <= 1, `${mark} was given to the model ${calls(mark)} times`);
    seen.marked += status === "error";
  }
  if (all.length > 0) {
    const conflict = await running.wires[0].call("chat.send", { ...all[0].params, message: "another body" }).then(() => null, (error) => error.refused);
    claim(conflict, "the same key with another body was not refused");
  }
  for (const what of ["acknowledged", "unsure", "refused"]) seen[what] += of(what).length;
}

let running = await start();
for (let round = 1; round <= Number(rounds); round++) {
  const wrongBefore = failures;
  const which = round % 4 ? "none" : FAULTS[(round / 4 - 1) % FAULTS.length];
  const { states, told } = await cases[which](round, running);
  if (which !== "none") seen.faults[which] += 1;
  running = await start();
  await accounts(running, round, states);
  const many = (what) => states.reduce((sum, state) => sum + state[what].length, 0);
  console.log(`round ${round}: ${told}; ${many("acknowledged")} acknowledged, ${many("unsure")} unanswered, ${many("refused")} refused, ${failures - wrongBefore} wrong`);
}
await stop(running);
claim(seen.acknowledged > 0 && seen.unsure > 0, "no kill came in the middle of the load");
const faults = Object.entries(seen.faults).map(([which, times]) => `${times} ${which}`).join(", ");
console.log(`figure kills: ${seen.kills} of ${rounds} rounds under load, of them on a failing disk: ${faults}; ${seen.acknowledged} acknowledged before a kill and there, ${seen.unsure} unanswered, ${seen.refused} refused, ${seen.marked} runs marked, ${failures} wrong`);
process.exit(failures === 0 ? 0 : 1);
