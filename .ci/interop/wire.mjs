// The gateway protocol from the outside, in as few lines as the checks need: one connection, calls with answers.
// It shares no code with the product, so both cannot be wrong in the same way.
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";

const SCOPES = ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];

/** A device of its own: keys, and what `connect` says to prove them. */
export class Device {
  #keys = generateKeyPairSync("ed25519");
  publicKey = this.#keys.publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  id = createHash("sha256").update(this.publicKey).digest("hex");

  proof({ nonce, ts }, client, scopes, token) {
    const payload = ["v2", this.id, client.id, client.mode, "operator", scopes.join(","), ts, token, nonce].join("|");
    return { id: this.id, publicKey: this.publicKey.toString("base64url"), signature: sign(null, Buffer.from(payload), this.#keys.privateKey).toString("base64url"), signedAt: ts, nonce };
  }
}

export class Wire {
  #socket;
  #waiting = new Map();
  /** Every event received, oldest first. */
  events = [];

  /** What the gateway greeted with. */
  hello;

  /** Connects and says hello as a command-line client on the gateway's own machine does: shared token, no device unless given. */
  static async open(port, token, deadlineMs = 60_000, device = undefined) {
    const wire = new Wire();
    wire.hello = await wire.#hello(port, token, deadlineMs, device);
    return wire;
  }

  #hello(port, token, deadlineMs, device) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no hello within ${deadlineMs} ms`)), deadlineMs);
      const settle = (how, value) => (clearTimeout(timer), how(value));
      this.#socket = new WebSocket(`ws://127.0.0.1:${port}`);
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
