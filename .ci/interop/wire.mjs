// The gateway protocol from the outside, in as few lines as the checks need: one connection, calls with answers.
// It shares no code with the product, so both cannot be wrong in the same way.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, randomUUID, sign } from "node:crypto";
import net from "node:net";

const SCOPES = ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];

/** A device of its own: keys, new ones or those of a PEM, and what `connect` says to prove them. */
export class Device {
  #key;

  constructor(pem) {
    this.#key = pem ? createPrivateKey(pem) : generateKeyPairSync("ed25519").privateKey;
    this.publicKey = createPublicKey(this.#key).export({ type: "spki", format: "der" }).subarray(-32);
    this.id = createHash("sha256").update(this.publicKey).digest("hex");
  }

  get pem() {
    return this.#key.export({ type: "pkcs8", format: "pem" });
  }

  proof({ nonce, ts }, client, scopes, token) {
    const payload = ["v2", this.id, client.id, client.mode, "operator", scopes.join(","), ts, token, nonce].join("|");
    return { id: this.id, publicKey: this.publicKey.toString("base64url"), signature: sign(null, Buffer.from(payload), this.#key).toString("base64url"), signedAt: ts, nonce };
  }
}

export class Wire {
  #socket;
  #waiting = new Map();
  /** Every event received, oldest first. */
  events = [];

  /** What the gateway greeted with. */
  hello;

  /**
   * Connects and says hello as a command-line client on the gateway's own machine does: shared token, no device unless given.
   * `tls` takes any certificate where the process has NODE_TLS_REJECT_UNAUTHORIZED=0; `headers` go with the upgrade.
   */
  static async open(port, token, deadlineMs = 60_000, device = undefined, { tls = false, headers = {} } = {}) {
    const wire = new Wire();
    wire.hello = await wire.#hello(`${tls ? "wss" : "ws"}://127.0.0.1:${port}`, headers, token, deadlineMs, device);
    return wire;
  }

  #hello(url, headers, token, deadlineMs, device) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no hello within ${deadlineMs} ms`)), deadlineMs);
      const settle = (how, value) => (clearTimeout(timer), how(value));
      this.#socket = new WebSocket(url, { headers });
      this.#socket.onerror = () => settle(reject, new Error("connection failed"));
      this.#socket.onclose = (event) => {
        const error = new Error(`closed: ${event.code} ${event.reason}`);
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
        settle(reject, error);
      };
      this.#socket.onmessage = (message) => {
        const frame = JSON.parse(message.data);
        if (frame.type === "event" && frame.event === "connect.challenge") {
          const client = { id: "cli", mode: "cli", version: "interop", platform: "linux" };
          this.call("connect", {
            minProtocol: 4,
            maxProtocol: 4,
            client,
            role: "operator",
            scopes: SCOPES,
            auth: { token },
            ...(device && { device: device.proof(frame.payload, client, SCOPES, token) }),
          }).then((hello) => settle(resolve, hello), (error) => settle(reject, error));
        } else if (frame.type === "res") {
          const waiting = this.#waiting.get(frame.id);
          this.#waiting.delete(frame.id);
          if (frame.ok) waiting?.resolve(frame.payload);
          else waiting?.reject(Object.assign(new Error(frame.error?.message ?? "refused"), { refused: frame.error }));
        } else if (frame.type === "event") {
          this.events.push(frame);
        }
      };
    });
  }

  /** One request; the answer's payload. Throws what the gateway says, with `refused`, or that the connection closed. */
  call(method, params = {}) {
    return new Promise((resolve, reject) => {
      const id = randomUUID();
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ type: "req", id, method, params }));
    });
  }

  close() {
    this.#socket.onclose = null;
    this.#socket.close();
  }
}

/** A client that says hello as any other does, asks for things, and from then on never reads. */
export class Deaf {
  #socket;

  static async open(port, token, deadlineMs = 20_000) {
    const deaf = new Deaf();
    await deaf.#hello(port, token, deadlineMs);
    return deaf;
  }

  #hello(port, token, deadlineMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => (this.#socket.destroy(), reject(new Error(`no hello within ${deadlineMs} ms`))), deadlineMs);
      const settle = (how, value) => (clearTimeout(timer), how(value));
      let bytes = Buffer.alloc(0);
      let isUpgraded = false;
      this.#socket = net.connect({ port, host: "127.0.0.1" });
      this.#socket.on("error", (error) => settle(reject, error));
      this.#socket.on("close", () => settle(reject, new Error("closed before hello")));
      this.#socket.on("connect", () =>
        this.#socket.write(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`),
      );
      this.#socket.on("data", (piece) => {
        bytes = Buffer.concat([bytes, piece]);
        if (!isUpgraded) {
          const end = bytes.indexOf("\r\n\r\n");
          if (end < 0) return;
          isUpgraded = true;
          bytes = bytes.subarray(end + 4);
        }
        for (let frame; (frame = whole(bytes)); bytes = bytes.subarray(frame.length)) {
          const said = frame.isText && JSON.parse(frame.text);
          if (said?.event === "connect.challenge") {
            this.ask("connect", { minProtocol: 4, maxProtocol: 4, client: { id: "cli", mode: "cli", version: "interop", platform: "linux" }, role: "operator", scopes: SCOPES, auth: { token } });
          } else if (said?.type === "res") {
            this.#socket.pause();
            settle(said.ok ? resolve : reject, said.ok ? said.payload : new Error(said.error?.message));
            return;
          }
        }
      });
    });
  }

  /** A request whose answer nobody will read. */
  ask(method, params = {}) {
    const text = Buffer.from(JSON.stringify({ type: "req", id: randomUUID(), method, params }));
    const mask = randomBytes(4);
    const head = text.length < 126 ? Buffer.from([0x81, 0x80 | text.length]) : Buffer.from([0x81, 0x80 | 126, text.length >> 8, text.length & 255]);
    this.#socket.write(Buffer.concat([head, mask, text.map((byte, at) => byte ^ mask[at % 4])]));
  }

  destroy() {
    this.#socket.destroy();
  }
}

/** The first frame of a server's bytes once all of it is there. */
function whole(bytes) {
  if (bytes.length < 2) return null;
  const size = bytes[1] & 127;
  const at = size === 126 ? 4 : size === 127 ? 10 : 2;
  if (bytes.length < at) return null;
  const length = size === 126 ? bytes.readUInt16BE(2) : size === 127 ? Number(bytes.readBigUInt64BE(2)) : size;
  if (bytes.length < at + length) return null;
  return { length: at + length, isText: (bytes[0] & 15) === 1, text: bytes.subarray(at, at + length).toString() };
}
