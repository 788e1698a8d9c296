import { readFileSync, globSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { WarrenError } from "@warren/std";

interface ErrorClassWithIs {
  readonly name: string;
  readonly prototype: Error;
  is(value: unknown): boolean;
}

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Every exported error class with an `is`, of every package and app. */
async function errorClasses(): Promise<ReadonlyMap<string, ErrorClassWithIs>> {
  const files = globSync("{packages,apps}/*/src/**/*.ts", { cwd: root }).filter((file) =>
    /export class \w+ extends (WarrenError|Error|\w+Error)\b/.test(readFileSync(root + file, "utf8")),
  );
  const classes = new Map<string, ErrorClassWithIs>();
  for (const file of files) {
    const module = (await import(/* @vite-ignore */ root + file)) as Readonly<Record<string, unknown>>;
    for (const [name, value] of Object.entries(module)) {
      if (typeof value === "function" && value.prototype instanceof Error && "is" in value)
        classes.set(`${file} ${name}`, value as unknown as ErrorClassWithIs);
    }
  }
  return classes;
}

test("an error class recognizes its own instances and those of its subclasses, and no other class's", async () => {
  const classes = await errorClasses();
  expect([...classes.keys()]).toContain("packages/raft/src/errors.ts RaftError");
  expect([...classes.keys()]).toContain("packages/store/src/errors.ts StoreError");
  const wrong: string[] = [];
  for (const [nameOfA, a] of classes) {
    for (const [nameOfB, b] of classes) {
      const error: unknown = Reflect.construct(b as never, [{ code: "ANY" }, "text"]);
      const related = a === b || a.prototype.isPrototypeOf(b.prototype);
      if (a.is(error) !== related) wrong.push(`${nameOfA}.is(${nameOfB}) is ${String(!related)}`);
      if (WarrenError.is(error) !== error instanceof WarrenError) wrong.push(`WarrenError.is(${nameOfB})`);
    }
  }
  expect(wrong).toEqual([]);
});

test("no two error classes share a name, by which copies of one are recognized", async () => {
  const names = [...(await errorClasses()).values()].map(({ name }) => name);
  expect(names).toEqual([...new Set(names)]);
});

test("an error of a second copy of a package is recognized, and by its own class alone", async () => {
  const path = `${root}packages/std/src/error.ts?second`;
  const copy = (await import(/* @vite-ignore */ path)) as { readonly WarrenError: typeof WarrenError };
  expect(copy.WarrenError).not.toBe(WarrenError);
  const mine = { DiskError: class DiskError extends WarrenError {}, TapeError: class TapeError extends WarrenError {} };
  const theirs = { DiskError: class DiskError extends copy.WarrenError {} };
  const error = new theirs.DiskError({ code: "DISK_FULL" }, "the disk is full");
  expect(error).not.toBeInstanceOf(WarrenError);
  expect(mine.DiskError.is(error)).toBe(true);
  expect(mine.DiskError.is(error, "DISK_FULL")).toBe(true);
  expect(mine.DiskError.is(error, "DISK_GONE")).toBe(false);
  expect(WarrenError.is(error)).toBe(true);
  expect(mine.TapeError.is(error)).toBe(false);
});
