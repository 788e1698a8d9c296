/** Which worlds run a line of the source, so that a mutation of it meets those that can notice it. */
import { readFileSync } from "node:fs";
import { Session, type Profiler } from "node:inspector/promises";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import type * as TestingModule from "../../src/testing/index.ts";

const source = join(import.meta.dirname, "../../src");

/** Seeds by a line, `file:line`, ascending. */
export type Reach = ReadonlyMap<string, readonly number[]>;

/** Runs the worlds of seeds 1 … `seeds` and notes which lines of core, node, storage and transport each of them runs. */
export async function reach(seeds: number): Promise<Reach> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  const { simulate } = (await import(pathToFileURL(join(source, "testing/index.ts")).href)) as typeof TestingModule;
  // What loads the modules is no world's.
  await session.post("Profiler.takePreciseCoverage");
  const found = new Map<string, number[]>();
  const texts = new Map<string, string>();
  for (let seed = 1; seed <= seeds; seed++) {
    await simulate(seed);
    // What was counted is forgotten then.
    const { result } = await session.post("Profiler.takePreciseCoverage");
    for (const script of result) {
      const file = /\/src\/((?:core|node|storage|transport)\/[\w-]+\.ts)$/u.exec(script.url)?.[1];
      if (file === undefined) continue;
      const text = texts.get(file) ?? stripTypeScriptTypes(readFileSync(join(source, file), "utf8"));
      texts.set(file, text);
      for (const line of linesRun(text, script.functions)) {
        const key = `${file}:${line}`;
        found.set(key, [...(found.get(key) ?? []), seed]);
      }
    }
  }
  session.disconnect();
  return found;
}

/** Lines of which the first character that is no space was run. */
function linesRun(text: string, functions: readonly Profiler.FunctionCoverage[]): number[] {
  const ran = new Uint8Array(text.length);
  // An inner range comes after those around it, and says better what ran.
  const ranges = functions
    .flatMap((one) => one.ranges)
    .sort((a, b) => b.endOffset - b.startOffset - (a.endOffset - a.startOffset));
  for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  const lines: number[] = [];
  let at = 0;
  text.split("\n").forEach((line, number) => {
    const first = line.search(/\S/u);
    if (first >= 0 && ran[at + first] === 1) lines.push(number + 1);
    at += line.length + 1;
  });
  return lines;
}
