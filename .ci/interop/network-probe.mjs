// The measuring half of network.sh: an echo server for the far end, a prober for the local ends, and the sums.
import { appendFileSync, readFileSync } from "node:fs";
import net from "node:net";

const [what, ...args] = process.argv.slice(2);
/** How often a new connection is tried, and how long one may wait for its echo. */
const EVERY = 100;
const PATIENCE = 1500;
/** Two echoes further apart than this are an outage. */
const OUTAGE = 400;

const commands = {
  /** echo PORT: sends back what comes. */
  echo(port) {
    net.createServer((socket) => socket.on("error", () => {}).pipe(socket)).listen(Number(port), "127.0.0.1");
  },

  /**
   * probe FILE NAME=PORT...: a program in constant use. Every tenth of a second one line goes over a connection that lasts,
   * and another one over a connection of its own; each echo is a line "MILLISECONDS NAME" in the file.
   */
  probe(file, ...ends) {
    for (const end of ends) {
      const [name, port] = end.split("=");
      const note = () => appendFileSync(file, `${Date.now()} ${name}\n`);
      const fresh = () => {
        const socket = net.connect({ port: Number(port), host: "127.0.0.1", noDelay: true });
        const limit = setTimeout(() => socket.destroy(), PATIENCE);
        socket.on("error", () => {}).on("close", () => clearTimeout(limit));
        socket.on("connect", () => socket.write("x\n")).on("data", () => (note(), socket.end()));
      };
      const lasting = () => {
        const socket = net.connect({ port: Number(port), host: "127.0.0.1", noDelay: true });
        const timer = setInterval(() => socket.writable && socket.write("y\n"), EVERY);
        socket.on("error", () => {}).on("data", note);
        socket.on("close", () => (clearInterval(timer), setTimeout(lasting, EVERY)));
      };
      setInterval(fresh, EVERY);
      lasting();
    }
  },

  /**
   * sum FILE NAME FAULT HEAL END: over the echoes between two moments, "BACK OUTAGE": how long after the healing the first
   * one came that ended the longest outage, and how long that outage was. "never" when none came.
   */
  sum(file, name, fault, heal, end) {
    const times = readFileSync(file, "utf8").split("\n").filter((line) => line.endsWith(` ${name}`)).map((line) => parseInt(line, 10));
    const [from, healed, to] = [fault, heal, end].map(Number);
    const before = times.filter((at) => at <= from).at(-1) ?? from;
    const points = [before, ...times.filter((at) => at > from && at <= to).sort((a, b) => a - b)];
    let longest = 0;
    let ended = from;
    for (let n = 1; n < points.length; n++) {
      if (points[n] - points[n - 1] > longest) [longest, ended] = [points[n] - points[n - 1], points[n]];
    }
    const last = points.at(-1);
    if (to - last > Math.max(OUTAGE, 1000)) console.log(`never ${to - before}`);
    else console.log(longest <= OUTAGE ? `0 ${longest}` : `${Math.max(0, ended - healed)} ${longest}`);
  },
};
commands[what](...args);
