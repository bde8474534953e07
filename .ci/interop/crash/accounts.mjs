// What must hold when a gateway starts again on what a crash left in its home directory.
//
//   const wrong = await accounts(home, program, marks)
//
// `marks` is what the scenario had begun and what had been acknowledged to it when the crash came. The gateway starts by
// itself and finds its store sound; what was acknowledged is there, once; what was begun is there once or not at all; files
// are whole, owner-only and not empty; what a write left behind is cleared away.
import { createHash } from "node:crypto";
import { existsSync, lstatSync, lutimesSync, readFileSync, readdirSync } from "node:fs";
import { Device } from "../wire.mjs";
import { Daemon, command, places, within } from "./daemon.mjs";

/** Names of files and directories that are being written. */
const STAGED = /^\..+\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** May be empty: a lock without a note, logs, and what SQLite leaves of its own. */
const MAY_BE_EMPTY = /^(lock|gateway\.db-(wal|shm|journal)|.*\.jsonl(\.\d+)?)$/;
/** How long a device that asks waits at least; after it, nobody need know of it any more. */
const ASKED_FOR = 4 * 60 * 1000;
/** Files that were being written so long ago belong to nobody. */
const OLD = 2 * 24 * 60 * 60;

function everything(path) {
  return readdirSync(path).flatMap((name) => {
    const at = `${path}/${name}`;
    return [{ at, name, stat: lstatSync(at) }, ...(lstatSync(at).isDirectory() ? everything(at) : [])];
  });
}

export async function accounts(home, program, marks) {
  const wrong = [];
  const claim = (holds, text) => holds || wrong.push(text);
  const place = places(home);
  const begun = new Map(marks.filter(({ what }) => what === "begin").map((mark) => [mark.name, mark]));
  const acked = new Map(marks.filter(({ what }) => what === "ack").map((mark) => [mark.name, mark]));
  /** Whether it has happened: `undefined` when it may have. */
  const happened = (name) => (acked.has(name) ? true : begun.has(name) ? undefined : false);

  for (const { at } of everything(home)) lutimesSync(at, Date.now() / 1000 - OLD, Date.now() / 1000 - OLD);
  let daemon;
  try {
    daemon = await Daemon.start(home, program);
    await whole();
    await spoken();
  } catch (error) {
    wrong.push(error.message);
  } finally {
    if (daemon) {
      const code = await daemon.stop();
      claim(code === 0, `SIGTERM ended it with ${code}: ${daemon.said}`);
    }
  }
  await saved();
  return wrong;

  /** Files. */
  async function whole() {
    for (const { at, name, stat } of everything(home)) {
      if (at.startsWith(place.backups)) continue;
      claim((stat.mode & 0o077) === 0, `${at} has mode ${(stat.mode & 0o7777).toString(8)}`);
      const isStaged = at.slice(home.length).split("/").some((part) => STAGED.test(part));
      claim(!stat.isFile() || stat.size > 0 || isStaged || MAY_BE_EMPTY.test(name), `${at} is empty`);
      claim(!isStaged || !at.startsWith(`${place.state}/`), `${at} is left of a write`);
    }
    const config = readFileSync(place.config, "utf8");
    const name = config.match(/After|Before/)?.[0];
    const done = happened("config");
    claim(name === "After" ? done !== false : name === "Before" && done !== true, `the config file is: ${config}`);
    const token = daemon.token;
    claim(/^[\w-]{43}$/.test(token), `the token is ${token.length} characters`);
    const known = acked.get("rotate token")?.token ?? (happened("rotate token") === false ? acked.get("first")?.token : token);
    claim(known === undefined || known === token, "the token is another one");
    // A restore puts back the certificate of the backup.
    const pinned = { first: acked.get("first")?.certificate, renewed: acked.get("renew")?.certificate };
    const found = createHash("sha256").update(readFileSync(`${place.state}/tls/cert.pem`)).digest("hex");
    const good = [];
    if (happened("renew") !== true || happened("restore") !== false) good.push(pinned.first);
    if (happened("renew") === true && happened("restore") !== true) good.push(pinned.renewed);
    claim(happened("renew") === undefined || good.includes(undefined) || good.includes(found), "the certificate is another one");
  }

  /** Over the wire. */
  async function spoken() {
    const wire = await daemon.open(daemon.token);
    await within("the store does not say that it is sound", async () => {
      const { store } = await wire.call("health", {});
      if (!store.ok || store.checking) throw new Error(JSON.stringify(store));
    });
    await devices(wire);
    await chats(wire);
    const { sessions } = await wire.call("sessions.list", {});
    const label = sessions.find(({ key }) => key === "agent:main:talk")?.label;
    claim(happened("label") === true ? label === "named" : happened("label") === undefined || label === undefined, `the label is ${label}`);
    const { file } = await wire.call("exec.approvals.get", {});
    const isSet = JSON.stringify(file.defaults) !== "{}" && file.defaults !== undefined;
    claim(happened("policy") === undefined || happened("policy") === isSet, `the policy is ${JSON.stringify(file)}`);
    claim(!isSet || file.defaults.ask === "always", `the policy is ${JSON.stringify(file)}`);
    const { triggers } = await wire.call("voicewake.get", {});
    const isSpoken = triggers.join() === "one,two";
    claim(isSpoken || triggers.length === 3, `the wake words are ${triggers}`);
    claim(happened("wake words") === undefined || happened("wake words") === isSpoken, `the wake words are ${triggers}`);
    const after = { sessionKey: "agent:main:after", message: "[after] the crash", idempotencyKey: "crash-after" };
    await wire.call("chat.send", after);
    const { status } = await wire.call("agent.wait", { runId: after.idempotencyKey, timeoutMs: 60_000 });
    claim(status === "ok", `a message after the crash ended with ${status}`);
    wire.close();
  }

  async function devices(wire) {
    const { paired, pending } = await wire.call("device.pair.list", {});
    const isPaired = (device) => paired.some(({ deviceId }) => deviceId === device.id);
    const takes = (device, token) => daemon.open(token, device).then((own) => (own.close(), true), (error) => (error.refused ? false : Promise.reject(error)));
    const of = (name) => begun.has(name) && new Device(begun.get(name).device);
    const [ann, bob, carl] = [of("pair ann"), of("ask bob"), of("pair carl")];
    if (acked.has("pair ann")) {
      claim(isPaired(ann), "ann is not paired any more");
      const isOld = await takes(ann, acked.get("pair ann").token);
      if (happened("rotate ann") !== undefined) claim(isOld === !happened("rotate ann"), `ann's first token is ${isOld ? "" : "not "}taken`);
      if (acked.has("pair ann again")) claim(await takes(ann, acked.get("pair ann again").token), "ann's new token is not taken");
    }
    if (acked.has("ask bob")) {
      const asked = acked.get("ask bob");
      const waits = pending.some(({ requestId }) => requestId === asked.requestId) || Date.now() - asked.at > ASKED_FOR;
      claim(isPaired(bob) ? happened("approve bob") !== false : waits && happened("approve bob") !== true, `bob is ${isPaired(bob) ? "" : "not "}paired, and ${waits ? "" : "not "}waiting`);
      if (acked.has("pair bob")) claim(await takes(bob, acked.get("pair bob").token), "bob's token is not taken");
      else if (isPaired(bob)) claim(await takes(bob, daemon.token), "bob is approved and not let in");
    }
    if (acked.has("pair carl") && happened("revoke carl") !== undefined) {
      const isTaken = await takes(carl, acked.get("pair carl").token);
      claim(isTaken === !happened("revoke carl"), `carl's token is ${isTaken ? "" : "not "}taken`);
    }
  }

  async function chats(wire) {
    const text = (content) => (typeof content === "string" ? content : content.map((part) => part.text ?? "").join(""));
    const read = async () => {
      const found = [];
      for (const sessionKey of ["agent:main:talk", "agent:main:old"]) {
        const { messages } = await wire.call("chat.history", { sessionKey, limit: 1000 });
        for (const { role, content } of messages) found.push({ role, sessionKey, text: text(content) });
      }
      return (name, role) => found.filter((message) => message.role === role && message.text.includes(`[${name}]`)).length;
    };
    let many = await read();
    for (const [name, { kind, params }] of begun) {
      if (kind !== "chat") continue;
      // A reset puts what was said before it aside.
      const isAside = name === "three" && happened("reset") !== false;
      const isThere = many(name, "user");
      if (!isAside) claim(isThere === 1 || (isThere === 0 && !acked.has(name)), `message ${name} is there ${isThere} times`);
      if (name === "three" && happened("reset") === true) claim(isThere === 0, "a message of before the reset is shown");
      claim(isThere <= 1 && many(name, "assistant") <= 1, `message ${name} is there ${isThere} times, with ${many(name, "assistant")} answers`);
      if (isAside) continue;
      // The laptop does not know what arrived: it sends again.
      await wire.call("chat.send", params).catch((error) => claim(false, `message ${name} sent again: ${error.message}`));
      const { status } = await wire.call("agent.wait", { runId: params.idempotencyKey, timeoutMs: 60_000 });
      many = await read();
      const answers = many(name, "assistant");
      claim(many(name, "user") === 1, `message ${name}, sent again, is there ${many(name, "user")} times`);
      claim(status === "ok" ? answers === 1 : status === "error" && answers <= 1, `message ${name} ended with ${status} and ${answers} answers`);
      const answered = acked.get(`${name} answered`)?.status;
      claim(answered === undefined || answered === status, `message ${name} had ended with ${answered} and ended with ${status}`);
    }
  }

  /** The backup: whole or not there, and its place takes another one, which clears away what the crash left. */
  async function saved() {
    const target = `${place.backups}/saved`;
    const elsewhere = `${home}/elsewhere`;
    if (happened("backup") === false) return;
    if (existsSync(target)) {
      const { code, said } = await command(elsewhere, program, ["restore", target]);
      claim(code === 0, `the backup cannot be restored: ${said}`);
    } else claim(happened("backup") !== true, "the backup is not there");
    const again = await command(home, program, ["backup", `${place.backups}/again`]);
    claim(again.code === 0, `no second backup: ${again.said}`);
    const left = existsSync(place.backups) ? readdirSync(place.backups).filter((name) => STAGED.test(name)) : [];
    claim(left.length === 0, `left of a backup: ${left}`);
  }
}
