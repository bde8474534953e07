// What strace wrote of a scenario (see SYSCALLS), as moments in their order: each call below one directory has a start and,
// unless it was cut short, an end. A call that failed changed nothing and is left out.
import { readFileSync } from "node:fs";

/** Every call that changes a file, a name or a directory, or asks for it to reach the disk. */
export const SYSCALLS = [
  ..."write writev pwrite64 pwritev pwritev2 copy_file_range sendfile splice".split(" "),
  ..."fsync fdatasync sync_file_range ftruncate truncate fallocate open openat creat".split(" "),
  ..."rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir mkdir mkdirat chmod fchmod fchmodat".split(" "),
];
/** How strace is asked for them: descriptors with their paths, everything in hexadecimal, nothing shortened. */
export const STRACE = ["strace", "-f", "-qq", "--seccomp-bpf", "-y", "-xx", "-s", "16000000", "-e", `trace=${SYSCALLS}`, "-e", "signal=none"];

const unhex = (text) => Buffer.from(text.replaceAll("\\x", ""), "hex");

/** The arguments: {fd, path}, {text: Buffer}, or the words as they stand; lists are kept in their brackets. */
function argumentsOf(text) {
  const found = [];
  const piece = /\s*(?:(-?\d+|AT_FDCWD)<([^>]*)>(\(deleted\))?|"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?|(\[[^\]]*\])|([^,]+))\s*(?:,|$)/gy;
  for (let match; piece.lastIndex < text.length && (match = piece.exec(text)); ) {
    const [, fd, path, isGone, string, isShort, list, word] = match;
    if (isShort) throw new Error("strace shortened a string");
    if (fd !== undefined) found.push({ fd, path: unhex(path).toString(), isGone: Boolean(isGone) });
    else if (string !== undefined) found.push({ text: unhex(string) });
    else found.push(list ?? word.trim());
  }
  return found;
}

/**
 * The moments of a trace: {is: "start", id, call, args, result} and {is: "end", id}, in order. Calls that have nothing to do
 * with `root` or `marks` are left out.
 */
export function moments(file, root, marks) {
  const wanted = [root, marks].map((path) => [...Buffer.from(path)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join(""));
  const isOurs = (line) => wanted.some((path) => line.includes(path));
  const all = [];
  const open = new Map();
  let id = 0;
  const begin = (pid, head) => {
    const [, call, rest] = head.match(/^(\w+)\(([^]*)$/);
    const moment = { is: "start", id: ++id, pid, call, rest, result: undefined };
    all.push(moment);
    return moment;
  };
  const finish = (moment, tail) => {
    const match = tail.match(/^([^]*)\)\s+= (-?\d+)(?:<[^>]*>)?(?:\(deleted\))?(?: .*)?$/);
    // Killed in the middle, or ended with its process.
    if (!match) return;
    moment.args = argumentsOf(moment.rest + match[1]);
    moment.result = Number(match[2]);
  };
  for (const line of readFileSync(file, "latin1").split("\n")) {
    const [, pid, body] = line.match(/^(\d+)\s+([^]*)$/) ?? [];
    if (body === undefined) continue;
    const resumed = body.match(/^<\.\.\. \w+ resumed>([^]*)$/);
    if (resumed) {
      const moment = open.get(pid);
      open.delete(pid);
      if (!moment) continue;
      finish(moment, resumed[1]);
      all.push({ is: "end", id: moment.id });
    } else if (isOurs(body)) {
      const cut = body.match(/^([^]*?)\s*<unfinished \.\.\.>$/);
      if (cut) {
        open.set(pid, begin(pid, cut[1]));
      } else if (/^\w+\(/.test(body)) {
        const whole = body.match(/^([^]*)(\)\s+= [^]*)$/);
        if (!whole) continue;
        const moment = begin(pid, whole[1]);
        finish(moment, whole[2]);
        all.push({ is: "end", id: moment.id });
      }
    }
  }
  const failed = new Set(all.filter((moment) => moment.is === "start" && !(moment.result >= 0)).map(({ id }) => id));
  return all.filter(({ id }) => !failed.has(id));
}
