import { z } from "zod";
import { invalid, type FieldViolation } from "../errors.ts";

/** Adds to a schema a test that says what is wrong and what would be right, or nothing. */
export function rule<S extends z.ZodType>(schema: S, test: (value: z.output<S>) => string | undefined): S {
  return schema.superRefine((value, context) => {
    const why = test(value);
    if (why !== undefined) context.addIssue({ code: "custom", message: why });
  });
}

/** Adds a test of a whole that may find fault with any of its parts, each by its path below it. */
export function crossRule<S extends z.ZodType>(
  schema: S,
  test: (value: z.output<S>, fault: (path: readonly PropertyKey[], why: string) => void) => void,
): S {
  return schema.superRefine((value, context) => {
    test(value, (path, message) => context.addIssue({ code: "custom", path: [...path], message }));
  });
}

/** Nobody reads more, and a hostile spec must not cost more. */
const mostViolations = 100;

/**
 * The value with its defaults, or an error with everything that is wrong with it.
 *
 * @param field the path that the value has in its request
 * @throws ApiError `API_INVALID`
 */
export function check<S extends z.ZodType>(schema: S, value: unknown, field: string): z.output<S> {
  const later = laterFields(value);
  if (later.length > 0)
    throw invalid(
      later.map(({ path, number }) => ({
        field: protoPath(field, path, value),
        description: `has a field ${number} that this manager does not know: use the client of its version, or upgrade the managers`,
      })),
    );
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const seen = new Set<string>();
  const violations: FieldViolation[] = [];
  for (const { path, message } of result.error.issues.slice(0, mostViolations)) {
    const violation = { field: protoPath(field, path, value), description: message };
    const key = `${violation.field}\0${message}`;
    if (!seen.has(key)) violations.push(violation);
    seen.add(key);
  }
  throw invalid(violations);
}

/**
 * Fields of later levels, at any depth. A schema leaves them out, and a spec without what its author asked for is not
 * the one that was asked for; nor could their level be held against the cluster's, if they were stored.
 */
function laterFields(value: unknown): readonly { readonly path: readonly PropertyKey[]; readonly number: number }[] {
  const found: { path: readonly PropertyKey[]; number: number }[] = [];
  const visit = (each: unknown, path: readonly PropertyKey[]): void => {
    if (typeof each !== "object" || each === null || ArrayBuffer.isView(each) || found.length >= mostViolations) return;
    for (const [key, inner] of Object.entries(each)) {
      if (key !== "_unknownFields") visit(inner, [...path, Array.isArray(each) ? Number(key) : key]);
      else for (const tag of Object.keys((inner ?? {}) as object)) found.push({ path, number: Number(tag) >>> 3 });
    }
  };
  visit(value, []);
  return found.slice(0, mostViolations);
}

const maps: ReadonlySet<PropertyKey> = new Set(["labels", "env", "sysctls", "extraHosts"]);

/** Our path as the proto file's: snake_case, `[1]` in lists, `["K"]` in maps, a oneof's member in place of its wrapping. */
function protoPath(prefix: string, path: readonly PropertyKey[], root: unknown): string {
  let text = prefix;
  let value = root;
  for (let i = 0; i < path.length; i += 1) {
    const segment = path[i] as PropertyKey;
    if (segment === "$case") continue;
    const parent = value as Readonly<Record<PropertyKey, unknown>> | undefined;
    value = parent?.[segment];
    const member = caseOf(value);
    if (typeof segment === "number") text += `[${segment}]`;
    else if (i > 0 && maps.has(path[i - 1] as PropertyKey)) text += `[${JSON.stringify(segment)}]`;
    else if (member !== undefined && path[i + 1] === "value") {
      text += dotted(text, snake(member));
      value = (value as { readonly value: unknown }).value;
      i += 1;
    } else text += dotted(text, snake(String(segment)));
  }
  return text;
}

const dotted = (before: string, name: string): string => (before === "" ? name : `.${name}`);
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function caseOf(value: unknown): string | undefined {
  const member = (value as { readonly $case?: unknown } | undefined)?.$case;
  return typeof member === "string" ? member : undefined;
}
