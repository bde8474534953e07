// OpenClaw's client library, unmodified, in the situations that a program which uses it meets. Prints one line of JSON.
//
//   node reference-client.mjs CASE URL TOKEN STATE_FILE
//
// STATE_FILE keeps the device's keys and its token, as such a program would. Cases:
//   connect            with the shared TOKEN and the device; the token that the gateway issues is stored
//   token-only         with the stored device token and nothing else
//   with-device-token  with TOKEN as the device token, which is stored when it is good
//   refused            as connect, and then four seconds more: how often does it try?
//   calls              answers, errors and an unknown method
//   chat               a message, its stream and its history
//   stays              connected until it ends: a line "up" at each hello; a request after the second, then the summary
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { GatewayClient } from "@openclaw/gateway-client";

const [name, url, token, stateFile] = process.argv.slice(2);

function load() {
  try {
    return JSON.parse(readFileSync(stateFile, "utf8"));
  } catch {
    const keys = generateKeyPairSync("ed25519");
    const device = {
      privateKeyPem: keys.privateKey.export({ type: "pkcs8", format: "pem" }),
      publicKeyPem: keys.publicKey.export({ type: "spki", format: "pem" }),
    };
    device.deviceId = createHash("sha256").update(rawPublicKey(device.publicKeyPem)).digest("hex");
    return device;
  }
}
function rawPublicKey(pem) {
  return createPublicKey(pem).export({ type: "spki", format: "der" }).subarray(-32);
}
const state = load();
const save = () => writeFileSync(stateFile, JSON.stringify(state), { mode: 0o600 });
save();

/** Tries that were turned down. The library says a moment later whether it goes on trying. */
let refusals = 0;
const seen = { case: name, deviceId: state.deviceId, connected: false, attempts: 0, hellos: 0, gaps: 0, paused: false };
const events = [];
let settle;
const settled = new Promise((resolve) => (settle = resolve));

const hostDeps = {
  loadOrCreateDeviceIdentity: () => state,
  signDevicePayload: (pem, payload) => sign(null, Buffer.from(payload), createPrivateKey(pem)).toString("base64url"),
  publicKeyRawBase64UrlFromPem: (pem) => rawPublicKey(pem).toString("base64url"),
  loadDeviceAuthToken: () => (name === "token-only" && state.token ? { token: state.token, scopes: state.scopes } : null),
  storeDeviceAuthToken: (record) => {
    seen.stored = true;
    Object.assign(state, { token: record.token, scopes: record.scopes });
    save();
  },
  clearDeviceAuthToken: () => (seen.cleared = true),
  beforeConnect: () => (seen.attempts += 1),
};
const credentials = { "token-only": {}, "with-device-token": { deviceToken: token } }[name] ?? { token };

const client = new GatewayClient({
  url,
  ...credentials,
  hostDeps,
  deviceIdentity: state,
  clientName: "gateway-client",
  clientDisplayName: `interop ${state.deviceId.slice(0, 8)}`,
  clientVersion: "interop",
  platform: "linux",
  mode: "ui",
  role: "operator",
  scopes: ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"],
  onHelloOk: (hello) => {
    seen.connected = true;
    seen.hellos += 1;
    seen.protocol = hello.protocol;
    seen.scopes = hello.auth?.scopes;
    seen.issued = typeof hello.auth?.deviceToken === "string";
    seen.method = credentials.token ? "token" : "device-token";
    if (name === "stays") console.log(`up ${seen.hellos}`);
    settle();
  },
  onEvent: (event) => events.push(event),
  onGap: () => (seen.gaps += 1),
  onConnectError: (error) => {
    seen.error = error.message;
    seen.detail = error.details?.code ?? seen.detail;
    seen.requestId = error.details?.requestId ?? seen.requestId;
    refusals += 1;
  },
  onReconnectPaused: (info) => {
    seen.paused = true;
    seen.closed = info.code;
    seen.detail = info.detailCode ?? seen.detail;
    settle();
  },
  onClose: (code, reason) => (seen.lastClose = `${code} ${reason}`),
});

/** Until the look finds something, or the deadline; its value or nothing. */
async function until(ms, look) {
  for (const end = Date.now() + ms; Date.now() < end; await pause(20)) {
    const found = look();
    if (found) return found;
  }
}
const text = (content) => (typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join(""));

const cases = {
  async refused() {
    // It has said that it tries no more: is that so?
    await pause(4000);
  },
  async calls() {
    const health = await client.request("health", {});
    const status = await client.request("status", {});
    seen.health = health.ok === true;
    seen.status = typeof status.runtimeVersion === "string" || typeof status.sessions === "object";
    seen.unknown = await client.request("no.such.method", {}).then(() => null, (error) => `${error.gatewayCode ?? error.code}: ${error.message}`);
    seen.invalid = await client.request("chat.history", { nope: 1 }).then(() => null, (error) => `${error.gatewayCode ?? error.code}: ${error.message}`);
    const many = await Promise.all(Array.from({ length: 200 }, () => client.request("sessions.list", { limit: 5 })));
    seen.answers = many.filter((page) => Array.isArray(page.sessions)).length;
  },
  async chat() {
    const sessionKey = "agent:main:reference-client";
    const idempotencyKey = `reference-${Date.now()}`;
    await client.request("sessions.subscribe", {});
    const ack = await client.request("chat.send", { sessionKey, message: "tell the library word by word", idempotencyKey });
    seen.ack = ack.status;
    const chat = () => events.filter((event) => event.event === "chat" && event.payload.runId === ack.runId);
    const final = await until(90_000, () => chat().find((event) => event.payload.state === "final"));
    seen.deltas = chat().filter((event) => event.payload.state === "delta").length;
    seen.final = text(final?.payload.message?.content);
    seen.agentEvents = events.filter((event) => event.event === "agent" && event.payload.runId === ack.runId).length;
    const history = await client.request("chat.history", { sessionKey });
    seen.history = history.messages.map((message) => `${message.role}: ${text(message.content)}`);
    const again = await client.request("chat.send", { sessionKey, message: "tell the library word by word", idempotencyKey });
    seen.again = again.status;
    seen.once = (await client.request("chat.history", { sessionKey })).messages.length === history.messages.length;
  },
  async stays() {
    await until(300_000, () => seen.hellos >= 2);
    seen.health = (await client.request("health", {})).ok;
  },
};

client.start();
// Connected, or turned down and pausing, or turned down more than once. A machine may be slow.
const late = until(90_000, () => refusals > 1 && name !== "stays").then((stop) => (seen.late = !stop));
await Promise.race([settled, late]);
if (cases[name] && (seen.connected || name === "refused")) {
  await cases[name]().catch((error) => (seen.failed = error.message));
} else {
  // Whoever is refused is given the time to try again at once, which it should not.
  await pause(500);
}
console.log(JSON.stringify(seen));
client.stop();
process.exit(0);
