// The measuring half of .ci/perf.sh: one measurement a call, one number (or two) on standard output.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { Wire } from "./wire.mjs";

const [what, ...args] = process.argv.slice(2);
const now = () => performance.now();
const sorted = (list) => [...list].sort((a, b) => a - b);
const at = (list, share) => sorted(list)[Math.min(list.length - 1, Math.floor(list.length * share))];
const connect = async (port) => {
  const socket = net.connect({ port: Number(port), host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return socket;
};
/** The token itself, or the file it is in. */
const tokenFrom = (text) => (text.startsWith("/") ? readFileSync(text, "utf8").trim() : text);

const measurements = {
  /** start PORT TOKEN TIMES COMMAND...: milliseconds from process start to the first answered `health`, median. */
  async start(port, token, times, ...command) {
    const all = [];
    for (let n = 0; n < Number(times); n++) {
      const began = now();
      const child = spawn(command[0], command.slice(1), { stdio: "ignore", detached: true });
      for (;;) {
        try {
          const wire = await Wire.open(Number(port), tokenFrom(token), 20_000);
          await wire.call("health");
          wire.close();
          break;
        } catch (error) {
          if (now() - began > 120_000) throw error;
          await pause(1);
        }
      }
      all.push(now() - began);
      process.kill(-child.pid, "SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
    console.log(at(all, 0.5).toFixed(1));
  },

  /** flood PORT TOKEN SECONDS IN_FLIGHT: `health` calls answered a second over one connection. */
  async flood(port, token, seconds, inFlight) {
    const socket = await connect(port);
    socket.write(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`);
    // A mask of zeros leaves the text as it is, which is as valid as any other.
    const frame = (value) => {
      const text = Buffer.from(JSON.stringify(value));
      const head = text.length < 126 ? Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]) : Buffer.from([0x81, 0xfe, text.length >> 8, text.length & 255, 0, 0, 0, 0]);
      return Buffer.concat([head, text]);
    };
    const health = frame({ type: "req", id: "h", method: "health", params: {} });
    let rest = Buffer.alloc(0);
    let upgraded = false;
    let answered = 0;
    let began = 0;
    const take = (text) => {
      if (text.startsWith('{"type":"event","event":"connect.challenge"')) {
        const client = { id: "cli", mode: "cli", version: "perf", platform: "linux" };
        const params = { minProtocol: 4, maxProtocol: 4, client, role: "operator", scopes: ["operator.read"], auth: { token: tokenFrom(token) } };
        socket.write(frame({ type: "req", id: "c", method: "connect", params }));
      } else if (text.includes('"hello-ok"')) {
        began = now();
        socket.write(Buffer.concat(Array(Number(inFlight)).fill(health)));
      }
    };
    socket.on("data", (piece) => {
      rest = rest.length ? Buffer.concat([rest, piece]) : piece;
      if (!upgraded) {
        const end = rest.indexOf("\r\n\r\n");
        if (end < 0) return;
        upgraded = true;
        rest = rest.subarray(end + 4);
      }
      let replies = 0;
      for (;;) {
        if (rest.length < 2) break;
        let length = rest[1] & 127;
        let head = 2;
        if (length === 126) (head = 4), (length = rest.length >= 4 ? rest.readUInt16BE(2) : Infinity);
        else if (length === 127) (head = 10), (length = rest.length >= 10 ? Number(rest.readBigUInt64BE(2)) : Infinity);
        if (rest.length < head + length) break;
        if (!began) take(rest.toString("utf8", head, head + length));
        else if (rest.toString("latin1", head, head + 60).includes('"id":"h"')) replies += 1;
        rest = rest.subarray(head + length);
      }
      if (replies === 0) return;
      answered += replies;
      const took = now() - began;
      if (took < Number(seconds) * 1000) socket.write(Buffer.concat(Array(replies).fill(health)));
      else {
        console.log(((answered * 1000) / took).toFixed(0));
        process.exit(0);
      }
    });
    socket.on("close", () => (console.error("closed by the gateway"), process.exit(1)));
  },

  /** wall TIMES COMMAND...: milliseconds the command takes, median. */
  async wall(times, ...command) {
    const all = [];
    for (let n = 0; n < Number(times); n++) {
      const began = now();
      const [code] = await once(spawn(command[0], command.slice(1), { stdio: "ignore" }), "exit");
      if (code !== 0) throw new Error(`exit code ${code}`);
      all.push(now() - began);
    }
    console.log(at(all, 0.5).toFixed(1));
  },

  /** serve PORT: the far end of the tunnel measurements. The first byte says which: d, u or e; d takes 8 digits of MB. */
  async serve(port) {
    const block = Buffer.alloc(1 << 18, 120);
    net.createServer({ noDelay: true }, (socket) => {
      socket.on("error", () => {});
      socket.once("data", (first) => {
        const mode = String.fromCharCode(first[0]);
        if (mode === "e") {
          if (first.length > 1) socket.write(first.subarray(1));
          socket.on("data", (piece) => socket.write(piece));
        } else if (mode === "u") {
          let left = Number(first.toString("latin1", 1, 9)) * (1 << 20) - (first.length - 9);
          socket.on("data", (piece) => (left -= piece.length) <= 0 && socket.write("!"));
        } else {
          let left = Number(first.toString("latin1", 1, 9)) * (1 << 20);
          const fill = () => {
            while (left > 0) {
              const piece = left >= block.length ? block : block.subarray(0, left);
              left -= piece.length;
              if (!socket.write(piece)) return;
            }
          };
          socket.on("drain", fill);
          fill();
        }
      });
    }).listen(Number(port), "127.0.0.1");
  },

  /** pull PORT MB, push PORT MB: MB a second down or up through the tunnel, ending when the far end has it all. */
  async pull(port, mb) {
    const socket = await connect(port);
    const began = now();
    let left = Number(mb) * (1 << 20);
    socket.write(`d${mb.padStart(8, "0")}`);
    await new Promise((resolve) => socket.on("data", (piece) => (left -= piece.length) <= 0 && resolve()));
    console.log(((Number(mb) * 1000) / (now() - began)).toFixed(0));
    socket.destroy();
  },
  async push(port, mb) {
    const socket = await connect(port);
    const block = Buffer.alloc(1 << 18, 120);
    const began = now();
    const done = once(socket, "data");
    socket.write(`u${mb.padStart(8, "0")}`);
    for (let left = Number(mb) * 4; left > 0; left--) if (!socket.write(block)) await once(socket, "drain");
    await done;
    console.log(((Number(mb) * 1000) / (now() - began)).toFixed(0));
    socket.destroy();
  },

  /** back PORT SSH_PORT: milliseconds from sshd listening again until a byte comes back through the tunnel. */
  async back(port, sshPort) {
    const until = now() + 60_000;
    for (;;) {
      try {
        (await connect(sshPort)).destroy();
        break;
      } catch {
        if (now() > until) throw new Error("sshd did not come back");
        await pause(1);
      }
    }
    const began = now();
    for (;;) {
      const answered = await new Promise((resolve) => {
        const socket = net.connect({ port: Number(port), host: "127.0.0.1", noDelay: true }, () => socket.write("ex"));
        const settle = (value) => (socket.destroy(), resolve(value));
        socket.on("data", () => settle(true)).on("error", () => settle(false)).on("close", () => settle(false));
        setTimeout(() => settle(false), 1000);
      });
      if (answered) break;
      if (now() > until) throw new Error("the tunnel did not come back");
      await pause(2);
    }
    console.log((now() - began).toFixed(0));
  },
};

await measurements[what](...args);
