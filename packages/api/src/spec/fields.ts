/** Schemas of single fields that several specs share. */
import { isIP } from "node:net";
import { z } from "zod";
import { limits } from "./limits.ts";
import { crossRule, rule } from "./violations.ts";

const namePattern = /^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/;
const hostLabel = /^[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?$/;

/** Of services, networks and aliases: a DNS label, with underscores as Compose has them. */
export const name: z.ZodString = rule(z.string(), (value) =>
  namePattern.test(value)
    ? undefined
    : `${quoted(value)} is not a valid name: want 1 to ${limits.nameCharacters} of a-z, 0-9 and, inside, "-" and "_"`,
);

export function isHostname(text: string): boolean {
  return (
    text !== "" && text.length <= 253 && text.split(".").every((part) => part.length <= 63 && hostLabel.test(part))
  );
}

/** An absolute path that means what it says. */
export function pathFault(path: string): string | undefined {
  if (path.length > limits.pathCharacters) return `the path is longer than ${limits.pathCharacters} characters`;
  const plain = path.startsWith("/") && !hasControl(path) && !path.split("/").includes("..");
  return plain ? undefined : `${quoted(path)} must be an absolute path without ".."`;
}

export function hasControl(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- that is what is looked for
  return /[\u0000-\u001f\u007f]/.test(text);
}

/** A text as it may stand in a message: not endless, and on one line. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 59)}…` : text);
}

export const address: z.ZodString = rule(z.string(), (value) =>
  isIP(value) === 0 ? `${quoted(value)} is not an IP address` : undefined,
);

/** A count or an amount; an error names it and its bounds. */
export function whole(least: number, most: number, unit = ""): z.ZodNumber {
  return rule(z.number(), (value) =>
    Number.isSafeInteger(value) && value >= least && value <= most
      ? undefined
      : `want ${least.toLocaleString("en")} to ${most.toLocaleString("en")}${unit}, not ${value}`,
  );
}

/** 0 is what protobuf has for a field that was left out. */
export function zeroIs(schema: z.ZodNumber, value: number): z.ZodPreprocess<z.ZodNumber> {
  return z.preprocess((given) => (given === 0 ? value : given), schema);
}

export const delayMs: z.ZodNumber = whole(0, limits.delayMs, " ms (a day)");

/** An enum whose 0 stands for `fallback`. */
export function choice<T extends number>(
  values: Readonly<Record<string, T>>,
  fallback: T,
): z.ZodPreprocess<z.ZodType<T, T>> {
  const known = Object.entries(values).filter(([, value]) => value > 0);
  const words = known.map(([word, value]) => `${word} (${value})`).join(", ");
  const schema = rule(z.number(), (value) =>
    known.some(([, each]) => each === value) ? undefined : `${value} is not known: want one of ${words}`,
  ) as unknown as z.ZodType<T, T>;
  return z.preprocess((given) => (given === 0 || given === undefined ? fallback : given), schema);
}

type List<S extends z.ZodType> = z.ZodDefault<z.ZodPipe<z.ZodArray<z.ZodUnknown>, z.ZodArray<S>>>;

/** A list with a limit; a missing one is empty. Items are checked only within the limit. */
export function list<S extends z.ZodType>(item: S, most: number): List<S> {
  const counted = rule(z.array(z.unknown()), ({ length }) =>
    length > most ? `holds ${length}; at most ${most} are allowed` : undefined,
  );
  const checked: unknown = z.pipe(counted, z.array(item) as never).default([] as never);
  return checked as List<S>;
}

/** A map that is not too large; missing is empty. `test` finds fault with one entry. */
export function map(
  most: number,
  test: (key: string, value: string) => string | undefined,
): z.ZodDefault<z.ZodRecord<z.ZodString, z.ZodString>> {
  // Before zod, which drops `__proto__` silently.
  const named = rule(z.unknown(), (entries) =>
    typeof entries === "object" && entries !== null && Object.hasOwn(entries, "__proto__")
      ? '"__proto__" can\'t be a name here'
      : undefined,
  );
  const record = crossRule(z.record(z.string(), z.string()), (entries, fault) => {
    const all = Object.entries(entries);
    if (all.length > most) return fault([], `holds ${all.length}; at most ${most} are allowed`);
    for (const [key, value] of all) {
      const why = test(key, value);
      if (why !== undefined) fault([key], why);
    }
  });
  const checked: unknown = z.pipe(named, record).default({} as never);
  return checked as z.ZodDefault<z.ZodRecord<z.ZodString, z.ZodString>>;
}

export const labels: ReturnType<typeof map> = map(limits.labels, (key, value) => {
  if (key === "" || hasControl(key)) return "a label's name must not be empty nor hold control characters";
  return Buffer.byteLength(key) + Buffer.byteLength(value) > limits.labelBytes
    ? `a label and its value have at most ${limits.labelBytes.toLocaleString("en")} bytes together`
    : undefined;
});

/** What can be passed to a program. */
export const word: z.ZodString = rule(z.string(), (value) => {
  if (value.includes("\0")) return "a NUL can't be passed to a program";
  return Buffer.byteLength(value) >= limits.wordBytes ? `longer than ${limits.wordBytes - 1} bytes` : undefined;
});

export const port: z.ZodNumber = whole(1, 65_535);

/** Faults of all that come after the first of the same key. */
export function duplicates<T>(
  items: readonly T[],
  keyOf: (item: T) => string | undefined,
  fault: (index: number, first: number, key: string) => void,
): void {
  const seen = new Map<string, number>();
  for (const [index, item] of items.entries()) {
    const key = keyOf(item);
    if (key === undefined) continue;
    const first = seen.get(key);
    if (first === undefined) seen.set(key, index);
    else fault(index, first, key);
  }
}
