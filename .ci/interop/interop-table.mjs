// Compares docs/INTEROP.md with the rows that a script ran: each row that ran is in the script's table, with "works" for each
// version that it held for and "does not" where it failed; and no cell says "works" of a row that did not run.
//
//   node interop-table.mjs ROWS_FILE DOCUMENT SCRIPT [--print]
//
// ROWS_FILE has lines NAME<TAB>VERSION<TAB>ok|FAIL. The script's table begins with the line "| row of `SCRIPT` | ...", each
// of its rows with "| `NAME` | v4 | v3 |".
import { readFileSync } from "node:fs";

const [rowsFile, document, script, print] = process.argv.slice(2);
const ran = new Map();
for (const line of readFileSync(rowsFile, "utf8").trim().split("\n")) {
  const [name, version, verdict] = line.split("\t");
  ran.set(name, { ...ran.get(name), [version]: verdict === "ok" ? "works" : "does not" });
}
if (print) {
  for (const [name, { v4, v3 }] of ran) console.log(`| \`${name}\` | ${v4 ?? "not run"} | ${v3 ?? "not run"} | |`);
  process.exit(0);
}
const said = new Map();
let table;
for (const line of readFileSync(document, "utf8").split("\n")) {
  if (!line.startsWith("|")) table = undefined;
  table = line.match(/^\| row of `([^`]+)` \|/)?.[1] ?? table;
  const cells = line.match(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|/);
  if (cells && table === script) said.set(cells[1], { v4: cells[2].trim(), v3: cells[3].trim() });
}
const wrong = [];
for (const [name, versions] of ran) {
  for (const [version, seen] of Object.entries(versions)) {
    const claim = said.get(name)?.[version] ?? "nothing";
    if (!claim.startsWith(seen)) wrong.push(`${name}, ${version}: the table says "${claim}", seen was "${seen}"`);
  }
}
for (const [name, versions] of said) {
  for (const version of ["v4", "v3"]) {
    if (versions[version].startsWith("works") && !ran.get(name)?.[version]) wrong.push(`${name}, ${version}: "works", and no row ran`);
  }
}
for (const line of wrong) console.log(line);
console.log(`${ran.size} rows ran, ${said.size} in the table`);
process.exit(wrong.length === 0 ? 0 : 1);
