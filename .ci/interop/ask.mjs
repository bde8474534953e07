// One question to our gateway and its answer as a line of JSON, for scripts that look at the same thing again and again: the
// official command line takes many seconds for each.
//
//   node ask.mjs PORT TOKEN METHOD [PARAMS]
import { Wire } from "./wire.mjs";

const DEADLINE = 60_000;
const [port, token, method, params = "{}"] = process.argv.slice(2);
setTimeout(() => (console.error(`no answer to ${method} within ${DEADLINE} ms`), process.exit(1)), DEADLINE).unref();
try {
  const wire = await Wire.open(Number(port), token, DEADLINE);
  console.log(JSON.stringify(await wire.call(method, JSON.parse(params))));
  wire.close();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
