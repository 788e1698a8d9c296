/** What the command line says is in people's words: no field of the API, no code of gRPC or of the kernel. */
import { ApiError, ServiceSpec } from "@warren/api";
import { checkServiceSpec } from "@warren/api/spec";
import { describe, expect, test } from "vitest";
import { commandTable } from "../src/command-table.ts";
import { violationText } from "../src/field-words.ts";
import { removals, switches, uses } from "../src/service/flag-table.ts";
import { applyServiceFlags, serviceFieldWords } from "../src/service/service-flags.ts";
import { UnitError } from "../src/units.ts";
import { failureText } from "../src/warren-command.ts";

/** Words of the machinery, and of ours that nobody else knows. */
const forbidden: readonly RegExp[] = [
  /\bspec\b/,
  /\b[a-z]+[0-9]*_[a-z_]+\b/,
  /\b[a-z]+\[\d+\]/,
  /\bE[A-Z]{4,}\b/,
  /\b(INVALID_ARGUMENT|NOT_FOUND|UNAVAILABLE|FAILED_PRECONDITION|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|UNKNOWN)\b/,
  /\bAPI_[A-Z]/,
  /\b(gRPC|protobuf|oclif|zod|nanos)\b/i,
  /\bnano-CPUs\b/,
  /undefined|\[object |\bNaN\b|null\b/,
  /fetch failed|bad port|socket hang up/,
  /\b(whoever|nobody|somebody|keeper|told to)\b/i,
  /\b(is no name|no spec|go on with|one more)\b/,
  /Unexpected token|is not iterable|Cannot read/,
];

/** What of a text is forbidden. Names that people know with an underscore are no fields of ours. */
function faultsOf(text: string): readonly string[] {
  const plain = text.replaceAll(/net\.\w+|node\.\w+|[A-Z][A-Z_]+=?\b(?=VALUE)|cap_\w+/g, "");
  return forbidden.flatMap((each) => (each.test(plain) ? [`${String(each)} in: ${text}`] : []));
}

describe("help", () => {
  test.for(Object.keys(commandTable))("%s", async (id) => {
    const command = await commandTable[id]?.();
    if (command === undefined) throw new Error(`${id} is in the table`);
    const texts = [
      command.summary,
      command.description,
      ...Object.values(command.args ?? {}).map(({ description }) => description),
      ...Object.values({ ...command.baseFlags, ...command.flags }).map(({ description }) => description),
    ].filter((text) => text !== undefined);
    if (id !== "complete") expect(command.summary, "a command says what it does").toMatch(/^[A-Z].*\.$/);
    for (const text of texts) {
      expect(faultsOf(text)).toEqual([]);
      // A flag's or an argument's is one line, which is no sentence.
      if (text !== command.summary && text !== command.description) expect(text).not.toMatch(/\.$|\n/);
    }
    for (const [name, flag] of Object.entries(command.flags ?? {}))
      expect(flag.description ?? flag.summary, `--${name} says what it is for`).toMatch(/^[A-Z(]/);
  });
});

/** Bad in one way or another, for any flag. */
const values = [
  "",
  " ",
  "-1",
  "64",
  "1e3",
  "x",
  "=",
  "a=b",
  "a=",
  ":",
  "1:2:3:4",
  "\u0000",
  "é",
  "0.0000001",
  "99999999999999999999",
  "type=x",
  "src=a",
  "type=volume,src=/x,dst=y",
  "8080:x",
  "70000:80",
  "../..",
  "a b c",
  "{",
  "[1]",
  '["a"',
  "node.x==y",
  "x".repeat(5_000),
];

/** The error of a flag with a value, as the command line prints it; undefined where it is taken. */
function errorOf(flags: Readonly<Record<string, unknown>>): string | undefined {
  const blank = ServiceSpec.fromPartial({
    name: "web",
    mode: { $case: "replicated", value: { replicas: 1 } },
    task: { container: { image: "nginx:1" } },
  });
  try {
    checkServiceSpec(applyServiceFlags(blank, flags, undefined));
    return undefined;
  } catch (error) {
    if (ApiError.is(error, "API_INVALID")) return violationText(error.failure.violations, serviceFieldWords);
    // Anything else would be printed with its stack.
    expect(error).toBeInstanceOf(UnitError);
    return failureText(error, false);
  }
}

describe("what is wrong with a flag is said by its name, in words", () => {
  // What is one of few words is checked before.
  const free = Object.keys(uses).filter((name) => uses[name]?.options === undefined);
  test.for([...free, ...Object.keys(removals)])("--%s", (name) => {
    const errors = values.flatMap((value) => {
      const error = errorOf({ [name]: uses[name]?.multiple === true || name in removals ? [value] : value });
      return error === undefined ? [] : [{ value, error }];
    });
    expect(errors.length, "some value is refused").toBeGreaterThan(0);
    for (const { value, error } of errors) {
      expect(error).toMatch(/^(--[a-z-]+|NAME|the arguments)/);
      expect(error.length, error).toBeLessThan(700);
      // What was typed is repeated, and is nobody's word but the user's.
      expect(faultsOf(error.replaceAll(value === "" ? /^$/g : value, "…"))).toEqual([]);
    }
  });

  test.for(Object.keys(switches))("--%s is taken either way", (name) => {
    for (const on of [true, false]) expect(errorOf({ [name]: on })).toBeUndefined();
  });
});

test("a size without a unit that is too little says the least, and what was meant", () => {
  expect(errorOf({ "limit-memory": "64" })).toBe(
    "--limit-memory: '64' is too little (least 512 KiB, or 0 for none); did you mean 64m?",
  );
});
