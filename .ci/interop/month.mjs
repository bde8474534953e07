// A month of a gateway's life, accelerated: thirty days of the given length, each with what a day brings.
//
//   node month.mjs DAY_SECONDS PORT TOKEN_FILE PID CONFIG_FILE
//
// In a day: clients come and go, chats stream, some are aborted, a device is paired, used, its token rotated, revoked and
// removed, the config is read again with a model more or less in it, connections drop without a word, and somebody who
// signed in reads nothing. At its end, when everybody has gone, memory and descriptors are written down: they must not grow
// from the fifth day to the last.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import net from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { Deaf, Device, Wire } from "./wire.mjs";

const [daySeconds, port, tokenFile, pid, config] = process.argv.slice(2);
const DAYS = 30;
const FIRST = 5;
/** What memory may grow by between the fifth day and the last: pools and caches settle, leaks do not stop. */
const GROWTH_KB = 6 * 1024;
const token = readFileSync(tokenFile, "utf8").trim();
const done = { connects: 0, chats: 0, aborts: 0, pairs: 0, reloads: 0, drops: 0, silent: 0 };
let failures = 0;
const claim = (holds, text) => holds || ((failures += 1), console.log(`  WRONG: ${text}`));
const open = async (secret = token, device) => ((done.connects += 1), Wire.open(Number(port), secret, 20_000, device));
const size = () => ({
  kb: Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]),
  files: readdirSync(`/proc/${pid}/fd`).length,
  threads: Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/Threads:\s+(\d+)/)[1]),
});

const events = {
  async visit() {
    const wires = await Promise.all(Array.from({ length: 5 }, () => open()));
    for (const wire of wires) {
      for (const method of ["health", "status", "sessions.list", "system-presence", "models.list"]) await wire.call(method, {});
      wire.close();
    }
  },
  async chat(day) {
    const wire = await open();
    await wire.call("sessions.subscribe", {});
    for (let n = 0; n < 3; n++) {
      const runId = `month-${day}-${performance.now()}-${n}`;
      // A conversation a day: what a model is shown grows with it, and memory with that, up to a bound; each day the same.
      const sessionKey = `agent:main:day${day}`;
      await wire.call("chat.send", { sessionKey, message: `words of day ${day} `.repeat(20), idempotencyKey: runId });
      if (n === 2) {
        await wire.call("chat.abort", { sessionKey, runId });
        done.aborts += 1;
      }
      const { status } = await wire.call("agent.wait", { runId, timeoutMs: 20_000 });
      claim(status !== "timeout", `day ${day}: ${runId} never ended`);
      done.chats += 1;
    }
    await wire.call("chat.history", { sessionKey: `agent:main:day${day}`, limit: 200 });
    wire.close();
  },
  async pair(day) {
    const device = new Device();
    const first = await open(token, device);
    const issued = first.hello.auth?.deviceToken;
    claim(issued, `day ${day}: no device token`);
    first.close();
    const second = await open(issued, device);
    second.close();
    const owner = await open();
    await owner.call("device.token.rotate", { deviceId: device.id, role: "operator" });
    await owner.call("device.token.revoke", { deviceId: device.id, role: "operator" });
    const stale = await open(issued, device).then((wire) => (wire.close(), true), () => false);
    claim(!stale, `day ${day}: a revoked token was taken`);
    await owner.call("device.pair.remove", { deviceId: device.id });
    owner.close();
    done.pairs += 1;
  },
  async reload(day) {
    const models = done.reloads % 2 ? '["stub"]' : '["stub", "another"]';
    writeFileSync(config, readFileSync(config, "utf8").replace(/models: \[.*?\]/, `models: ${models}`));
    process.kill(Number(pid), "SIGHUP");
    await pause(20);
    const wire = await open();
    claim((await wire.call("health", {})).ok, `day ${day}: not healthy after a reload`);
    wire.close();
    done.reloads += 1;
  },
  async drop() {
    // Open sockets that end with a reset: before the upgrade, after it, and with half a head.
    for (const words of ["", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`]) {
      const socket = net.connect({ port: Number(port), host: "127.0.0.1" });
      socket.on("error", () => {});
      await new Promise((resolve) => socket.once("connect", resolve));
      socket.write(words);
      await pause(5);
      socket.resetAndDestroy();
      done.drops += 1;
    }
  },
  async silent(day) {
    // Somebody who signed in, wants everything, asks for a great deal, and reads nothing of it.
    const sessionKey = `agent:main:silent${day}`;
    const deaf = await Deaf.open(Number(port), token);
    done.connects += 1;
    deaf.ask("sessions.subscribe");
    const wire = await open();
    const idempotencyKey = `silent-${day}-${performance.now()}`;
    await wire.call("chat.send", { sessionKey, message: "x".repeat(20_000), idempotencyKey });
    for (let n = 0; n < 20; n++) deaf.ask("chat.history", { sessionKey, limit: 200 });
    await wire.call("chat.abort", { sessionKey });
    await wire.call("agent.wait", { runId: idempotencyKey, timeoutMs: 20_000 });
    deaf.destroy();
    wire.close();
    done.silent += 1;
  },
};

const days = [];
for (let day = 1; day <= DAYS; day++) {
  const until = Date.now() + Number(daySeconds) * 1000;
  do {
    const results = await Promise.allSettled(Object.values(events).map((event) => event(day)));
    for (const result of results) if (result.status === "rejected") claim(false, `day ${day}: ${result.reason.message}`);
  } while (Date.now() < until);
  await pause(1500);
  days.push(size());
  const { kb, files, threads } = days.at(-1);
  console.log(`day ${day}: ${(kb / 1024).toFixed(1)} MB, ${files} descriptors, ${threads} threads`);
}
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const early = days.slice(FIRST - 1, FIRST + 4);
const late = days.slice(-5);
const [earlyKb, lateKb] = [early, late].map((some) => median(some.map((day) => day.kb)));
const [earlyFiles, lateFiles] = [early, late].map((some) => median(some.map((day) => day.files)));
claim(lateKb - earlyKb <= GROWTH_KB, `memory grew from ${earlyKb} to ${lateKb} kB`);
claim(lateFiles - earlyFiles <= 2, `descriptors grew from ${earlyFiles} to ${lateFiles}`);
console.log(`figure month: ${DAYS} days of ${daySeconds} s, ${Object.entries(done).map(([what, times]) => `${times} ${what}`).join(", ")}, ${failures} wrong`);
console.log(`figure month memory, days ${FIRST} to ${FIRST + 4} and the last five: ${(earlyKb / 1024).toFixed(1)} then ${(lateKb / 1024).toFixed(1)} MB`);
console.log(`figure month descriptors: ${earlyFiles} then ${lateFiles}`);
process.exit(failures === 0 ? 0 : 1);
