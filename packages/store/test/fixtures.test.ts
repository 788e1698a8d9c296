/** Fixtures of each level are read and give the recorded state; `tools/fixtures` writes those of the present level. */
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { level, minLevel } from "@warren/api/model";
import { describe, expect, test } from "vitest";

import { StoreStateMachine } from "../src/index.ts";
import { imageOf, logOf } from "./fixtures/image.ts";

const folder = new URL("fixtures/", import.meta.url);
const levels = readdirSync(folder)
  .filter((name) => name.startsWith("level-"))
  .map((name) => Number(name.slice("level-".length)));

test("every level that is read has fixtures", () => {
  expect(levels.sort((a, b) => a - b)).toEqual(Array.from({ length: level - minLevel + 1 }, (_, at) => minLevel + at));
});

describe.each(levels)("level %d", (each) => {
  const read = (name: string): Promise<Buffer> => readFile(new URL(`level-${each}/${name}`, folder));
  const state = async (): Promise<unknown> => JSON.parse((await read("state.json")).toString());

  test("a log leads to the recorded state", async () => {
    const machine = new StoreStateMachine();
    machine.apply(logOf((await read("log.jsonl")).toString()));
    expect(imageOf(machine.view())).toEqual(await state());
  });

  test("a snapshot is of the recorded state", async () => {
    const machine = new StoreStateMachine();
    const bytes = await read("snapshot.bin");
    await machine.restore(
      (async function* () {
        yield bytes;
      })(),
    );
    expect(imageOf(machine.view())).toEqual(await state());
  });
});
