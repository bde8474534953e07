// Compares tests/data/protocol-v4-subset.schema.json with the schema in the official package: each definition
// that we keep is theirs, but for the descriptions, and each answer that the table names exists.
// node schema.mjs SUBSET PACKAGE_DIRECTORY
import { readFileSync } from "node:fs";

const [subsetPath, packagePath] = process.argv.slice(2);
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const subset = read(subsetPath);
const full = read(`${packagePath}/protocol.schema.json`);
const { version } = read(`${packagePath}/package.json`);

const SAID = new Set(["description", "title", "$id", "default", "deprecated"]);
// A member of `properties` may be called "title"; an annotation is a text, not a schema.
const bare = (value) => {
  if (Array.isArray(value)) return value.map(bare);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([name, inner]) => !SAID.has(name) || (inner !== null && typeof inner === "object"));
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, inner]) => [name, bare(inner)]));
};
const same = (a, b) => JSON.stringify(bare(a)) === JSON.stringify(bare(b));

const faults = [];
for (const [name, definition] of Object.entries(subset.definitions)) {
  if (!(name in full.definitions)) faults.push(`${name}: not in the package`);
  else if (!same(definition, full.definitions[name])) faults.push(`${name}: differs from the package`);
}
for (const [method, { result }] of Object.entries(subset.methods)) {
  const name = result?.$ref?.split("/").pop();
  if (name && !(name in subset.definitions)) faults.push(`${method}: no definition ${name}`);
}
for (const fault of faults) console.error(fault);
console.log(`schema: ${Object.keys(subset.definitions).length} definitions against gateway-protocol ${version}, ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
