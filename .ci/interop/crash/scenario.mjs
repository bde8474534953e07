// A gateway's life in short, each time the same: what is begun and what is acknowledged is written down as it happens.
//
//   node scenario.mjs HOME PROGRAM MARKS_FILE [PART WRAPPER...]
//
// PART is one of PARTS: that process is started through WRAPPER, which may kill it; the scenario then ends with code 3.
// A line of the marks: {"what":"begin"|"ack","name":…}, with what is needed to look for it later.
import { createHash } from "node:crypto";
import { mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { Device } from "../wire.mjs";
import { Daemon, command, places } from "./daemon.mjs";

const [home, program, marksFile, part, ...wrapper] = process.argv.slice(2);
const place = places(home);
const wrapOf = (name) => (name === part ? wrapper : []);

/** Before anything is recorded: the config file of a person. */
if (process.env.PREPARE) {
  mkdirSync(`${home}/.config/clawline`, { recursive: true, mode: 0o700 });
  writeFileSync(place.config, '{ agents: { list: [{ id: "main", name: "Before" }] } }\n', { mode: 0o600 });
  process.exit(0);
}

const marks = openSync(marksFile, "a", 0o600);
const note = (mark) => writeSync(marks, `${JSON.stringify({ ...mark, at: Date.now() })}\n`);

async function step(name, known, act) {
  note({ what: "begin", name, ...known });
  const learned = await act();
  note({ what: "ack", name, ...known, ...learned });
  return learned;
}
const certificate = () => createHash("sha256").update(readFileSync(`${place.state}/tls/cert.pem`)).digest("hex");

class Cut extends Error {}

async function run(name, args) {
  const { code, signal, said } = await command(home, program, args, wrapOf(name));
  if (name === part && code !== 0) throw new Cut(signal ?? String(code));
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code ?? signal}: ${said}`);
}

let daemon;
let wire;
async function start(name) {
  await step(name, {}, async () => {
    daemon = await Daemon.start(home, program, wrapOf(name)).catch((error) => {
      throw name === part ? new Cut(error.message) : error;
    });
    const token = daemon.token;
    wire = await daemon.open(token);
    return { token, certificate: certificate() };
  });
}
async function stop(name) {
  await step(`${name} stop`, {}, async () => {
    wire.close();
    const code = await daemon.stop();
    if (code !== 0) throw name === part ? new Cut(String(code)) : new Error(`SIGTERM ended the gateway with ${code}: ${daemon.said}`);
  });
}
async function chat(name, sessionKey) {
  const params = { sessionKey, message: `[${name}] ${"x".repeat(6000)}`, idempotencyKey: `crash-${name}` };
  await step(name, { kind: "chat", params }, () => wire.call("chat.send", params).then(() => ({})));
  await step(`${name} answered`, { kind: "answer", params }, async () => {
    const { status } = await wire.call("agent.wait", { runId: params.idempotencyKey, timeoutMs: 60_000 });
    return { status };
  });
}
/** Lets a device in as its user's own, which nobody has to approve. */
async function pair(name, device) {
  return step(`pair ${name}`, { device: device.pem }, async () => {
    const own = await daemon.open(daemon.token, device);
    own.close();
    return { token: own.hello.auth.deviceToken };
  });
}

async function life() {
  await start("first");
  const [ann, bob, carl] = [new Device(), new Device(), new Device()];
  await pair("ann", ann);
  await chat("one", "agent:main:talk");
  await chat("two", "agent:main:talk");
  await chat("three", "agent:main:old");
  const { requestId } = await step("ask bob", { device: bob.pem }, async () => {
    const error = await daemon.open(daemon.token, bob, daemon.asPage()).then(() => undefined, (error) => error);
    if (!error?.refused) throw error ?? new Error("a page was let in");
    return { requestId: error.refused.details.requestId };
  });
  await step("approve bob", { device: bob.pem, requestId }, () => wire.call("device.pair.approve", { requestId }).then(() => ({})));
  await pair("bob", bob);
  await step("rotate ann", {}, () => wire.call("device.token.rotate", { deviceId: ann.id, role: "operator" }).then(() => ({})));
  await pair("ann again", ann);
  await pair("carl", carl);
  await step("revoke carl", {}, () => wire.call("device.token.revoke", { deviceId: carl.id, role: "operator" }).then(() => ({})));
  await step("label", { key: "agent:main:talk", label: "named" }, () => wire.call("sessions.patch", { key: "agent:main:talk", label: "named" }).then(() => ({})));
  await step("reset", { key: "agent:main:old" }, () => wire.call("sessions.reset", { key: "agent:main:old" }).then(() => ({})));
  await chat("four", "agent:main:old");
  const policy = { version: 1, defaults: { security: "allowlist", ask: "always" }, agents: {} };
  await step("policy", { policy }, async () => {
    const { hash } = await wire.call("exec.approvals.get", {});
    await wire.call("exec.approvals.set", { file: policy, baseHash: hash });
  });
  await step("wake words", { triggers: ["one", "two"] }, () => wire.call("voicewake.set", { triggers: ["one", "two"] }).then(() => ({})));
  await step("config", {}, async () => {
    const { hash } = await wire.call("config.get", {});
    await wire.call("config.patch", { raw: '{ agents: { list: [{ id: "main", name: "After" }] } }', baseHash: hash });
  });
  await step("backup", {}, () => run("backup", ["backup", `${place.backups}/saved`]));
  await stop("first");
  await step("rotate token", {}, async () => {
    await run("rotate", ["token", "--rotate"]);
    return { token: daemon.token };
  });
  await step("renew", {}, async () => {
    await run("renew", ["tls", "renew"]);
    return { certificate: certificate() };
  });
  await step("restore", {}, () => run("restore", ["restore", `${place.backups}/saved`]));
  await start("second");
  await chat("five", "agent:main:talk");
  await stop("second");
}

try {
  await life();
} catch (error) {
  await daemon?.kill();
  if (!part) throw error;
  note({ what: "cut", why: error.message });
  process.exit(3);
}
