// The gateway of one home directory: started, spoken to over TLS, stopped; and its commands.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Wire } from "../wire.mjs";

export const DEADLINE = 90_000;

/** Where things are in a home directory. */
export const places = (home) => ({
  state: `${home}/.local/state/clawline-gateway`,
  config: `${home}/.config/clawline/clawline.json5`,
  notice: `${home}/.clawline/gateway.json`,
  backups: `${home}/backups`,
});

const environment = (home) => ({ HOME: home, PATH: process.env.PATH, LANG: "C.UTF-8", USER: "crash", LOGNAME: "crash" });

/** Tries until it does not throw, for a minute and a half at most. */
export async function within(what, attempt) {
  for (const until = Date.now() + DEADLINE; ; await pause(10)) {
    try {
      return await attempt();
    } catch (error) {
      if (error.final || Date.now() > until) throw new Error(`${what}: ${error.message}`);
    }
  }
}

/** Runs a command of the gateway's program to its end. */
export async function command(home, program, args, wrap = []) {
  const [file, ...rest] = [...wrap, program, ...args];
  const child = spawn(file, rest, { env: environment(home), cwd: "/", stdio: ["ignore", "pipe", "pipe"], detached: true });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece) => (said += piece));
  const limit = setTimeout(() => process.kill(-child.pid, "SIGKILL"), DEADLINE);
  const [code, signal] = await once(child, "close");
  clearTimeout(limit);
  return { code, signal, said };
}

export class Daemon {
  said = "";
  #home;
  #child;
  #exited;
  #port;
  #pid;

  /** Starts it and waits until it has told its user's clients where it is. */
  static async start(home, program, wrap = []) {
    const daemon = new Daemon();
    daemon.#home = home;
    const notice = () => {
      try {
        return readFileSync(places(home).notice, "utf8");
      } catch {
        return "";
      }
    };
    const before = notice();
    const [file, ...rest] = [...wrap, program, "run", "--port", "0", "--tls"];
    const child = spawn(file, rest, { env: environment(home), cwd: "/", stdio: ["ignore", "ignore", "pipe"], detached: true });
    child.stderr.on("data", (piece) => (daemon.said += piece));
    daemon.#child = child;
    daemon.#exited = once(child, "close");
    try {
      await within("the gateway did not come up", () => {
        if (child.exitCode !== null || child.signalCode !== null) throw Object.assign(new Error(`it ended with ${child.exitCode ?? child.signalCode}: ${daemon.said.trim()}`), { final: true });
        const text = notice();
        if (text === "" || text === before) throw new Error("no notice");
        ({ port: daemon.#port, pid: daemon.#pid } = JSON.parse(text));
      });
    } catch (error) {
      await daemon.kill();
      throw error;
    }
    return daemon;
  }

  /** A connection; `more` as for the wire. */
  open(secret, device, more) {
    return Wire.open(this.#port, secret, DEADLINE, device, { tls: true, ...more });
  }

  /** What nobody is paired for without a question: a page of the gateway's own. */
  asPage() {
    return { headers: { origin: `https://127.0.0.1:${this.#port}` } };
  }

  get token() {
    return readFileSync(`${places(this.#home).state}/token`, "utf8").trim();
  }

  /** SIGTERM, also where it is wrapped; gives the exit code, or the signal that was faster. */
  async stop() {
    const limit = setTimeout(() => this.kill(), DEADLINE);
    try {
      process.kill(this.#pid, "SIGTERM");
    } catch {
      // It has ended already.
    }
    const [code, signal] = await this.#exited;
    clearTimeout(limit);
    return code ?? signal;
  }

  /** SIGKILL to it and to what it was wrapped in. */
  async kill() {
    try {
      process.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#exited;
  }
}
