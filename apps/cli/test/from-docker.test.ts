/** The page for those who come from Docker: what it says can be typed. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { routeArgv } from "../src/argv.ts";
import { commandTable } from "../src/command-table.ts";
import { splitExec } from "../src/commands/task.ts";
import { splitWords } from "../src/service/flag-syntax.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/from-docker.md"), "utf8");
const rows = [...page.matchAll(/^\| (.+?) \| (.+?) \|$/gm)].map(
  ([, docker = "", ours = ""]) => [docker, ours] as const,
);
const codes = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
const lines = rows.flatMap(([, ours]) => codes(ours)).filter((code) => code.startsWith("warren "));
const ids = Object.keys(commandTable);

async function flagsOf(id: string): Promise<ReadonlySet<string>> {
  const command = await commandTable[id]?.();
  if (command === undefined) throw new Error(`no command ${id}`);
  const { flags, baseFlags } = command;
  return new Set(
    Object.entries({ ...flags, ...baseFlags }).flatMap(([name, { char }]) => [
      `--${name}`,
      ...(char === undefined ? [] : [`-${char}`]),
    ]),
  );
}

test("the page has the commands", () => {
  expect(lines.length).toBeGreaterThan(20);
});

test.for(lines)("'%s' is a command with these flags", async (line) => {
  const route = routeArgv(splitWords(line).slice(1), ids);
  if (route.kind !== "run") throw new Error(`${line}: ${JSON.stringify(route)}`);
  const own = route.id === "task:exec" ? splitExec(route.argv).own : route.argv;
  const until = own.includes("--") ? own.indexOf("--") : own.length;
  const known = await flagsOf(route.id);
  const used = own.slice(0, until).filter((word) => word.startsWith("-"));
  // Letters may stand together: -it.
  const single = used.flatMap((word) =>
    /^-[a-z]{2,}$/.test(word) ? Array.from(word.slice(1), (char) => `-${char}`) : [word],
  );
  expect(single.filter((flag) => !known.has(flag.split("=")[0] ?? ""))).toEqual([]);
});

test("every flag that it names on our side is one of a service", async () => {
  const section = page.slice(page.indexOf("## Flags of a service"), page.indexOf("## What is different"));
  const named = [...section.matchAll(/^\| .+? \| (.+?) \|$/gm)].flatMap(([, ours = ""]) => codes(ours));
  const flags = named.map((code) => code.split(" ")[0] ?? "").filter((word) => /^--\w/.test(word));
  expect(flags.length).toBeGreaterThan(10);
  const known = await flagsOf("service:update");
  expect(flags.filter((flag) => !known.has(flag))).toEqual([]);
});
