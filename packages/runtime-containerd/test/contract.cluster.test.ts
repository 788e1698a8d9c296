import { runtimeContract, shellScript, type RuntimeUnderTest } from "@warren/runtime/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";

let bed: RuntimeBed;
let subject: RuntimeUnderTest;

beforeAll(async () => {
  bed = await startRuntimeBed();
  subject = {
    open: () => bed.open(),
    image: await bed.push("box:1"),
    otherImage: await bed.push("other:1", { files: { only: "here" } }),
    missingImage: `${bed.registry.host}/missing:1`,
    program: (program) => ["/bin/sh", "-c", shellScript(program)],
  };
});
afterEach(async () => {
  await using runtime = await bed.open();
  expect((await runtime.list()).map(({ id }) => id)).toEqual([]);
});
afterAll(() => bed?.[Symbol.asyncDispose]());

for (const { title, ...one } of runtimeContract) test(`containerd: ${title}`, () => one.run(subject));
