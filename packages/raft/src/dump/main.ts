#!/usr/bin/env node
/** `warren-raft-dump`: prints what is in a member's directory, or in an exported snapshot. */
import { once } from "node:events";
import { parseArgs } from "node:util";

import { errorText } from "@warren/std";

import { inspect, type InspectOptions } from "./inspect.ts";
import { asJson, asText } from "./print.ts";

const usage = `usage: warren-raft-dump [OPTION…] PATH

Prints what a member's directory holds: identity, state, journal, snapshots, entries; or what an exported snapshot is.
Changes nothing there. A member may run on the directory, and it may be damaged: a line DAMAGE says what is. The log is
copied beside it first, into the folder that TMPDIR names.

  --from N, --to N  only entries from this index, to this index
  --data            the bytes of commands too
  --json            a JSON object a line, bytes in base64

Exits with 0 if all is sound, 1 if something is damaged, 2 if it could not be read, or not to its end.
`;

const options = {
  from: { type: "string" },
  to: { type: "string" },
  data: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

function index(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/u.test(text))
    throw new Error(`--${option} is ${JSON.stringify(text)}, and an entry's index is a whole number`);
  return Number(text);
}

/** Aborted when the output's reader has ended, as with `| head`, or by a signal: the copy is then removed too. */
const stop = new AbortController();
process.stdout.on("error", () => stop.abort());
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

async function print(line: string): Promise<void> {
  if (process.stdout.write(`${line}\n`) || stop.signal.aborted) return;
  await once(process.stdout, "drain", { signal: stop.signal }).catch(() => undefined);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const [path] = positionals;
  if (path === undefined || positionals.length > 1) {
    process.stderr.write(usage);
    return 2;
  }
  const from = index("from", values.from);
  const to = index("to", values.to);
  const range: InspectOptions = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
  let damaged = false;
  for await (const finding of inspect(path, range)) {
    if (stop.signal.aborted) return 2;
    damaged ||= finding.kind === "damage";
    await print(values.json ? asJson(finding) : asText(finding, values.data));
  }
  return damaged ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`warren-raft-dump: ${errorText(error)}\n`);
  process.exitCode = 2;
}
