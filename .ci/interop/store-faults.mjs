// A disk that fails under clawline-gateway, and kill -9 in the middle of it.
//
//   node store-faults.mjs CASE ROUNDS PORT STATE_DIR GATEWAY_COMMAND...
//
// CASE fsync: after a random number of flushes each further fsync and fdatasync of the gateway fails with EIO (strace
//             makes it so). What was acknowledged before is there after a kill; nothing is acknowledged after the first
//             failure, although the kernel may have taken the data.
// CASE full:  STATE_DIR is a small file system that fills up; space comes back, and then the gateway takes messages again.
// CASE ro:    killed under load, and STATE_DIR is read-only when it starts again: it says so and ends. Writable later.
//
// In each: acknowledged messages are there once, none is there twice, the database opens, nothing runs for ever.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Wire } from "./wire.mjs";

const [which, rounds, port, stateDir, ...command] = process.argv.slice(2);
let failures = 0;
const seen = { acknowledged: 0, refused: 0, kills: 0 };
const claim = (holds, text) => holds || ((failures += 1), console.log(`  WRONG: ${text}`));

async function within(ms, what, attempt) {
  for (const until = Date.now() + ms; ; await pause(10)) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > until) throw new Error(`${what}: ${error.message}`);
    }
  }
}

/** The gateway, under strace when flushes are to fail from the given one on. */
async function start(failFrom) {
  const strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", `inject=fsync,fdatasync:error=EIO:when=${failFrom}+`];
  const [program, ...args] = failFrom ? [...strace, ...command] : command;
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  const exited = once(child, "exit");
  const wire = await within(90_000, "the gateway did not come up", () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return Wire.open(Number(port), readFileSync(`${stateDir}/clawline-gateway/token`, "utf8").trim());
  });
  return { child, exited, wire };
}
/** SIGKILL to the gateway and to strace around it. */
async function kill({ child, exited }) {
  process.kill(-child.pid, "SIGKILL");
  await exited;
  seen.kills += 1;
}

const key = (round) => `agent:main:${which}${round}`;
const message = (round, n, size) => ({ sessionKey: key(round), message: `round${round}-message${n}-${"x".repeat(size)}`, idempotencyKey: `${which}-${process.pid}-${round}-${n}` });

/** Sends until the first refusal, at most `most`; what was acknowledged. */
async function sendUntilRefused(wire, round, from, most, size = 10) {
  const acknowledged = [];
  for (let n = from; n < from + most; n++) {
    const params = message(round, n, size);
    const refused = await wire.call("chat.send", params).then(() => null, (error) => error.message);
    if (refused) return { acknowledged, refused, next: n + 1, unsure: params };
    acknowledged.push(params);
  }
  return { acknowledged, refused: null, next: from + most };
}

/** They are refused, and reading goes on; returns those that were acknowledged. A full disk is tried again every few seconds. */
async function refusesAll(wire, round, from, many, size = 10) {
  const acknowledged = [];
  let refused = false;
  for (let n = from; n < from + many; n++) {
    const params = message(round, n, size);
    refused = await wire.call("chat.send", params).then(() => false, () => true);
    if (refused) seen.refused += 1;
    else acknowledged.push(params);
  }
  const readable = await wire.call("chat.history", { sessionKey: key(round), limit: 5 }).then(() => true, (error) => error.message);
  claim(readable === true, `round ${round}: the history cannot be read: ${readable}`);
  const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then((response) => response.status, () => 0);
  claim(!refused || ready === 503, `round ${round}: /readyz says ${ready} although nothing can be written`);
  return acknowledged;
}

/** After a restart on a good disk: what must be there, and that nothing runs. */
async function accounts(wire, round, acknowledged, unsure = []) {
  const { messages } = await wire.call("chat.history", { sessionKey: key(round), limit: 1000 });
  const text = (content) => (typeof content === "string" ? content : content.map((part) => part.text ?? "").join(""));
  const mark = (words) => words.split("-").slice(0, 2).join("-");
  const texts = messages.filter((entry) => entry.role === "user").map((entry) => mark(text(entry.content)));
  const times = (params) => texts.filter((found) => found === mark(params.message)).length;
  for (const params of acknowledged) claim(times(params) === 1, `round ${round}: ${params.message.slice(0, 24)} was acknowledged and is there ${times(params)} times`);
  for (const params of unsure) claim(times(params) <= 1, `round ${round}: ${params.message.slice(0, 24)} is there ${times(params)} times`);
  for (const params of acknowledged.slice(-3)) {
    const { status } = await wire.call("agent.wait", { runId: params.idempotencyKey, timeoutMs: 90_000 });
    claim(status !== "timeout", `round ${round}: ${params.idempotencyKey} still runs`);
  }
  const after = await wire.call("chat.send", message(round, 9_999, 10)).then(() => true, (error) => error.message);
  claim(after === true, `round ${round}: nothing can be sent after the restart: ${after}`);
  seen.acknowledged += acknowledged.length;
}

const cases = {
  async fsync(round) {
    const failing = await start(10 + Math.floor(Math.random() * 60));
    const { acknowledged, refused, next, unsure } = await sendUntilRefused(failing.wire, round, 0, 200);
    claim(refused, `round ${round}: 200 messages were acknowledged and no flush failed`);
    const after = await refusesAll(failing.wire, round, next, 5);
    claim(after.length === 0, `round ${round}: ${after.length} messages were acknowledged after the store had failed`);
    await pause(Math.random() * 30);
    await kill(failing);
    const good = await start();
    await accounts(good.wire, round, acknowledged, unsure ? [unsure] : []);
    await kill(good);
    return `${acknowledged.length} acknowledged, then: ${refused}`;
  },
  async full(round) {
    const first = await start();
    const ballast = `${stateDir}/ballast`;
    try {
      execFileSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=64k"], { stdio: "ignore" });
    } catch {
      // It ends when there is no space left, which is what is wanted: a little of it is given back.
    }
    truncateSync(ballast, statSync(ballast).size - 512 * 1024);
    const { acknowledged, refused, next, unsure } = await sendUntilRefused(first.wire, round, 0, 500, 20_000);
    claim(refused, `round ${round}: the disk is full and 500 messages of 20 kB were taken`);
    acknowledged.push(...(await refusesAll(first.wire, round, next, 3, 20_000)));
    if (round % 2) {
      // Killed while it is full: it opens all the same, once there is space.
      await kill(first);
      rmSync(ballast);
      const again = await start();
      await accounts(again.wire, round, acknowledged, unsure ? [unsure] : []);
      await kill(again);
      return `${acknowledged.length} acknowledged, then: ${refused}; killed while full`;
    }
    rmSync(ballast);
    const back = await within(60_000, "nothing is taken although there is space again", async () => {
      const more = await sendUntilRefused(first.wire, round, next + 100 + Math.floor(Math.random() * 1e6), 1);
      if (more.refused) throw new Error(more.refused);
      return more.acknowledged;
    });
    await kill(first);
    const good = await start();
    await accounts(good.wire, round, [...acknowledged, ...back], unsure ? [unsure] : []);
    await kill(good);
    return `${acknowledged.length} acknowledged, then: ${refused}; goes on when there is space`;
  },
  async ro(round) {
    const first = await start();
    const before = await sendUntilRefused(first.wire, round, 0, 1 + Math.floor(Math.random() * 20));
    await kill(first);
    execFileSync("mount", ["-o", "remount,ro", stateDir], { stdio: "ignore" });
    const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (piece) => (said += piece));
    const code = await Promise.race([once(child, "exit").then(([code]) => code), pause(90_000).then(() => "running")]);
    if (code === "running") child.kill("SIGKILL");
    claim(code !== 0 && code !== "running" && /read-only|cannot/i.test(said), `round ${round}: on a read-only file system it ended with ${code} and said: ${said}`);
    execFileSync("mount", ["-o", "remount,rw", stateDir], { stdio: "ignore" });
    const good = await start();
    await accounts(good.wire, round, before.acknowledged);
    await kill(good);
    return `${before.acknowledged.length} acknowledged; started read-only: exit code ${code}, ${said.trim().split("\n").at(-1)}`;
  },
};

for (let round = 1; round <= Number(rounds); round++) {
  const before = failures;
  const told = await cases[which](round);
  console.log(`round ${round}: ${told}${failures > before ? `, ${failures - before} wrong` : ""}`);
}
console.log(`figure store ${which}: ${rounds} rounds, ${seen.kills} kills, ${seen.acknowledged} acknowledged and there, ${seen.refused} refused after the failure, ${failures} wrong`);
process.exit(failures === 0 ? 0 : 1);
