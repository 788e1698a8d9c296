/** Files of environment variables, read as Docker's `--env-file` reads them. */
import { readFileSync } from "node:fs";
import { UnitError } from "../units.ts";

/**
 * The variables of a file. A line is `NAME=VALUE`, taken as it stands: quotes and `#` are part of the value. `NAME` alone
 * passes on the caller's. Empty lines and those that begin with `#` are left out.
 *
 * @param environment the caller's
 * @throws UnitError with the number of the line
 */
export function parseEnvFile(text: string, environment: NodeJS.ProcessEnv): [string, string][] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  return lines.flatMap((line, index): [string, string][] => {
    const entry = line.trimStart();
    if (entry === "" || entry.startsWith("#")) return [];
    try {
      return [parseEnvironment(entry, environment)];
    } catch (error) {
      if (error instanceof UnitError) throw new UnitError(`line ${index + 1}: ${error.message}`);
      throw error;
    }
  });
}

/** Docker fills these in for each task; here they would be passed on as they stand. */
const template = /\{\{\s*\.(?:Service|Node|Task)\b/;

/** @throws UnitError for a text that Docker would fill in */
export function withoutTemplates(text: string): string {
  if (!template.test(text)) return text;
  throw new UnitError(`'${text}': templates are not filled in here; give the value itself`);
}

/** `NAME=VALUE`, or `NAME` for the caller's value. @throws UnitError */
export function parseEnvironment(text: string, environment: NodeJS.ProcessEnv): [string, string] {
  const at = text.indexOf("=");
  const name = at === -1 ? text : text.slice(0, at);
  if (name === "") throw new UnitError(`'${text}': want NAME=VALUE`);
  if (/\s/.test(name)) throw new UnitError(`'${name}': a variable's name has no white space`);
  if (at !== -1) return [name, withoutTemplates(text.slice(at + 1))];
  const own = environment[name];
  if (own === undefined) throw new UnitError(`${name} is not set here: give ${name}=VALUE`);
  return [name, own];
}

/** @throws UnitError where it can't be read */
export function readEnvFile(path: string, environment: NodeJS.ProcessEnv): [string, string][] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new UnitError(
      `can't read ${path}: ${reasons[(error as NodeJS.ErrnoException).code ?? ""] ?? "it can't be opened"}`,
    );
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UnitError(`${path} is not text in UTF-8`);
  }
  try {
    return parseEnvFile(text, environment);
  } catch (error) {
    if (error instanceof UnitError) throw new UnitError(`${path}, ${error.message}`);
    throw error;
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "permission denied",
  EISDIR: "it is a directory",
};
