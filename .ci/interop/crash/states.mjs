// One scenario is recorded, call by call; the disks that a crash may leave at each of its moments are rebuilt from the
// record, and a gateway is started on each. See scenario.mjs, disk.mjs and accounts.mjs.
//
//   node states.mjs kills|cuts PROGRAM WORK_DIR STATES_DIR MOST SEED
//
//   kills  the process dies at a call: everything before it is there, nothing after. At most MOST calls, all with 0.
//   cuts   the power goes: what must be there after each acknowledgement and nothing else, and then states by chance in all
//          ways of disk.mjs, until MOST different ones were looked at.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { accounts } from "./accounts.mjs";
import { Disk, WAYS, differences, digest, randomOf, restore } from "./disk.mjs";
import { STRACE, moments } from "./trace.mjs";

const [kind, program, work, states, most, seed] = process.argv.slice(2);
const WORKERS = 2;
const random = randomOf(Number(seed));
const scenario = new URL("scenario.mjs", import.meta.url).pathname;
const home = `${work}/recorded`;
const before = `${work}/before`;
const [trace, marksFile] = [`${work}/trace`, `${work}/marks`];

// ---- the record ------------------------------------------------------------------------------------------------------

for (const place of [home, before]) {
  mkdirSync(place, { recursive: true, mode: 0o700 });
  execFileSync("node", [scenario, place, program, marksFile], { env: { ...process.env, PREPARE: "1" } });
}
const [strace, ...options] = STRACE;
execFileSync(strace, [...options, "-o", trace, "node", scenario, home, program, marksFile], { stdio: ["ignore", "inherit", "inherit"] });
const record = moments(trace, home, marksFile);

/** The mark that a moment writes. */
const markOf = ({ is, call, args }) => (is === "start" && call === "write" && args[0].path === marksFile ? JSON.parse(args[1].text) : undefined);
/** The disk at a moment, and what was begun and acknowledged until then. */
function at(moment) {
  const disk = new Disk(home, before);
  const marks = [];
  for (const passed of record.slice(0, moment)) {
    const mark = markOf(passed);
    if (mark) marks.push(mark);
    else disk.pass(passed);
  }
  return { disk, marks };
}
const told = ({ is, id, call, args }) => {
  if (is === "end") return `the end of ${told(record.find((moment) => moment.id === id && moment.is === "start"))}`;
  const paths = args.map((arg) => arg.path ?? (/write/.test(call) ? undefined : arg.text?.toString())).filter((path) => path?.startsWith(home));
  return `${call} ${paths.map((path) => path.slice(home.length + 1))}`;
};
const wrongRecord = differences(at(record.length).disk.after(WAYS.everything), home, ["-shm", ".sock"]);
if (wrongRecord.length > 0) throw new Error(`the record does not give what is on the disk:\n${wrongRecord.join("\n")}`);

// ---- the states ------------------------------------------------------------------------------------------------------

const isCall = (moment) => moment.is === "start" && !markOf(moment);
/** What kind of call changes something, or lets something be sure. */
const calls = record.flatMap((moment, index) => (isCall(moment) && !(/open/.test(moment.call) && !/O_CREAT|O_TRUNC/.test(moment.args.join())) ? [index] : []));

function* kills() {
  const left = [...calls];
  const many = Number(most) || left.length;
  while (left.length > calls.length - many && left.length > 0) {
    const [index] = left.splice(Number(most) ? random(left.length) : 0, 1);
    yield { index, way: "everything", seed: 0, told: `killed at ${told(record[index])}` };
  }
}
function* cuts() {
  for (const [index, moment] of record.entries()) {
    const mark = markOf(moment);
    if (mark?.what === "ack") yield { index: index + 1, way: "only what is sure", seed: 0, told: `cut after ${mark.name} was acknowledged` };
  }
  const ways = Object.keys(WAYS);
  for (;;) {
    const index = 1 + random(record.length - 1);
    const way = ways[random(ways.length)];
    const own = random(2 ** 31);
    yield { index, way, seed: own, told: `cut before moment ${index} of ${record.length} (${markOf(record[index]) ? "a mark" : told(record[index])}), ${way}, seed ${own}` };
  }
}

const seen = new Set();
const found = { states: 0, same: 0, wrong: 0, ways: {} };
const plan = kind === "kills" ? kills() : cuts();
function next() {
  for (;;) {
    if (kind === "cuts" && found.states >= Number(most)) return undefined;
    const { value, done } = plan.next();
    if (done) return undefined;
    const { disk, marks } = at(value.index);
    const tree = disk.after(WAYS[value.way], randomOf(value.seed));
    const name = `${digest(tree)} ${marks.length}`;
    if (seen.has(name)) found.same += 1;
    else {
      seen.add(name);
      found.states += 1;
      found.ways[value.way] = (found.ways[value.way] ?? 0) + 1;
      return { ...value, tree, marks };
    }
  }
}
async function worker(number) {
  const place = `${states}/${number}`;
  for (let state; (state = next()); ) {
    restore(state.tree, place);
    // The directory of a home is there before anything of ours is.
    const wrong = await accounts(place, program, state.marks);
    if (wrong.length === 0) continue;
    found.wrong += 1;
    console.log(`  WRONG: ${state.told}:`);
    for (const text of wrong) console.log(`    ${text.replaceAll(place, "~")}`);
  }
}
await Promise.all(Array.from({ length: WORKERS }, (_, number) => worker(number)));
const marks = record.map(markOf).filter((mark) => mark?.what === "ack").length;
const what = kind === "kills" ? `killed at ${found.states + found.same} of ${calls.length} calls` : `${found.states} states after a cut of ${record.length} moments`;
if (kind === "cuts") for (const [way, many] of Object.entries(found.ways)) console.log(`  ${many} ${way}`);
console.log(`figure ${kind}: ${what} (${found.same} the same as another), ${marks} acknowledgements, seed ${seed}: ${found.wrong} wrong`);
process.exit(found.wrong === 0 && readdirSync(states).length > 0 ? 0 : 1);
