/** Puts a bug back: a copy of `src/` with one place changed, to be imported in the place of the real one. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const source = join(import.meta.dirname, "../../src");
const mutants = join(import.meta.dirname, ".mutants");

/** One bug as a patch. */
export interface Mutation {
  /** The bug's name, as in the table of known bugs. */
  readonly bug: string;
  /** Relative to `src/`. */
  readonly file: string;
  /** Occurs in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** The file's text with the patch in. @throws Error if `find` does not occur exactly once */
export function mutate(text: string, { bug, file, find, replace }: Mutation): string {
  const [before, after, ...more] = text.split(find);
  if (before === undefined || after === undefined || more.length > 0) {
    throw new Error(`the mutation ${bug} does not apply: its text must occur exactly once in src/${file}`);
  }
  return before + replace + after;
}

export interface Mutant extends Disposable {
  /** Where the copy is. */
  readonly directory: string;
  /** Imports a module of the copy, for instance `core/index.ts`. */
  load<M>(module: string): Promise<M>;
}

/** A copy of all of `src/` with the patch in; it is removed on disposal. */
export function createMutant(mutation: Mutation): Mutant {
  mkdirSync(mutants, { recursive: true });
  const directory = mkdtempSync(join(mutants, `${mutation.bug}-`));
  cpSync(source, directory, { recursive: true });
  const file = join(directory, mutation.file);
  writeFileSync(file, mutate(readFileSync(file, "utf8"), mutation));
  return {
    directory,
    load: async <M>(module: string) =>
      (await import(/* @vite-ignore */ pathToFileURL(join(directory, module)).href)) as M,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}
