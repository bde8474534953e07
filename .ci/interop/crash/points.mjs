// The gateway and its commands are killed for real, by strace, when a thread of theirs makes its N-th call of a kind; then
// everything must hold. See scenario.mjs and accounts.mjs.
//
//   node points.mjs PROGRAM WORK_DIR STEP SEED
//
// For each process of the scenario and each kind of call, N goes up from 1 until the scenario ends by itself: one by one with
// STEP 0, else by steps by chance that grow to a STEP-th of N. strace counts the calls of each thread for itself; states.mjs
// has every call of all of them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { accounts } from "./accounts.mjs";
import { randomOf } from "./disk.mjs";

const [program, work, step, seed] = process.argv.slice(2);
const WORKERS = 2;
const PARTS = ["first", "backup", "rotate", "renew", "restore", "second"];
/** Each is a name of a call, or several that do the same. */
const KINDS = ["pwrite64", "fsync,fdatasync", "ftruncate", "rename,renameat,renameat2", "link,linkat", "unlink,unlinkat", "mkdir,mkdirat", "copy_file_range", "chmod,fchmod,fchmodat"];
const random = randomOf(Number(seed));
const scenario = new URL("scenario.mjs", import.meta.url).pathname;

const found = { kills: 0, wrong: 0, kinds: {} };

/** Whether the process was killed. */
async function killed(place, part, kind, n) {
  rmSync(place, { recursive: true, force: true });
  const [home, marksFile] = [`${place}/home`, `${place}/marks`];
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const run = async (env, ...more) => {
    const child = spawn("node", [scenario, home, program, marksFile, ...more], { env: { ...process.env, ...env }, stdio: ["ignore", "inherit", "inherit"] });
    const [code] = await once(child, "close");
    return code;
  };
  await run({ PREPARE: "1" });
  const wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `trace=${kind}`, "-e", "signal=none", "-e", `inject=${kind}:signal=KILL:when=${n}`];
  const code = await run({}, part, ...wrapper);
  if (code === 0) return false;
  const what = `${part} killed at a thread's ${n}. ${kind}`;
  const marks = readFileSync(marksFile, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const wrong = code === 3 ? await accounts(home, program, marks) : [`the scenario ended with ${code}`];
  found.kills += 1;
  found.kinds[kind] = (found.kinds[kind] ?? 0) + 1;
  if (wrong.length > 0) {
    found.wrong += 1;
    console.log(`  WRONG: ${what}, after ${marks.at(-2)?.name}:`);
    for (const text of wrong) console.log(`    ${text.replaceAll(home, "~")}`);
  }
  return true;
}

const left = PARTS.flatMap((part) => KINDS.map((kind) => ({ part, kind })));
async function worker(number) {
  for (let next; (next = left.shift()); ) {
    for (let n = 1; await killed(`${work}/${number}`, next.part, next.kind, n); ) {
      n += 1 + (Number(step) ? random(Math.ceil(n / Number(step))) : 0);
    }
  }
}
await Promise.all(Array.from({ length: WORKERS }, (_, number) => worker(number)));
for (const [kind, many] of Object.entries(found.kinds)) console.log(`  ${many} at ${kind}`);
console.log(`figure points: ${found.kills} kills at a call of ${PARTS.length} processes, seed ${seed}: ${found.wrong} wrong`);
process.exit(found.wrong === 0 && found.kills > 0 ? 0 : 1);
