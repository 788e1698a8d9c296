import { BlockList, isIP } from "node:net";
import { SchedulerError } from "./errors.ts";
import { archMeant, archNames, normalPlatform } from "./platforms.ts";
import type { ConstrainedNode } from "./types.ts";

export type ConstraintOperator = "==" | "!=" | "in" | "not in" | "exists";

export interface Constraint {
  readonly key: string;
  readonly operator: ConstraintOperator;
  /** One for `==` and `!=`, none for `exists`. */
  readonly values: readonly string[];
}

const keyPattern = /^[a-z_][a-z0-9\-_.]+$/i;
const valuePattern = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;
const setPattern = /^(\S+)\s+(in|notin|not\s+in)\s*\(([^()]*)\)$/i;
const existsPattern = /^(\S+)\s+exists$/i;

/**
 * Reads constraints: Swarm's `key == value` and `key != value`, Kubernetes' `key in (a, b)`, `key not in (a, b)`
 * (or `notin`) and `key exists`.
 *
 * @throws SchedulerError `SCHEDULER_CONSTRAINT_INVALID`
 */
export function parseConstraints(expressions: readonly string[]): Constraint[] {
  return expressions.map(parse);
}

/** `==` is searched for before `!=`, wherever it stands, as Swarm does. */
function parse(expression: string): Constraint {
  for (const operator of ["==", "!="] as const) {
    const at = expression.indexOf(operator);
    if (at >= 0) return constraint(expression, expression.slice(0, at), operator, [expression.slice(at + 2)]);
  }
  const set = setPattern.exec(expression.trim());
  if (set !== null) {
    const [, key = "", word = "", list = ""] = set;
    return constraint(expression, key, word.toLowerCase() === "in" ? "in" : "not in", list.split(","));
  }
  const exists = existsPattern.exec(expression.trim());
  if (exists !== null) return constraint(expression, exists[1] ?? "", "exists", []);
  throw invalid(expression, "it has no operator; use ==, !=, in (…), not in (…) or exists");
}

function constraint(expression: string, rawKey: string, operator: ConstraintOperator, rawValues: string[]): Constraint {
  const key = rawKey.trim();
  if (!keyPattern.test(key)) throw invalid(expression, `key "${key}" is not letters, digits, "-", "_" and "."`);
  const values = rawValues.map((value) => value.trim());
  for (const value of values) {
    if (!valuePattern.test(value))
      throw invalid(expression, `value "${value}" is empty or holds a character not allowed`);
  }
  return { key, operator, values };
}

function invalid(expression: string, why: string): SchedulerError {
  return new SchedulerError(
    { code: "SCHEDULER_CONSTRAINT_INVALID", expression },
    `constraint "${expression}" can't be read: ${why}`,
  );
}

/** Whether `node` meets every constraint. A key that is not one of Swarm's is met by no node, whatever the operator. */
export function matchConstraints(constraints: readonly Constraint[], node: ConstrainedNode): boolean {
  return constraints.every((each) => constraintTest(each)(node));
}

/** The test of a constraint, compiled once for many nodes. */
export function constraintTest({ key, operator, values }: Constraint): (node: ConstrainedNode) => boolean {
  if (key.toLowerCase() === "node.ip") return addressTest(operator, values);
  const read = topologyOf(key);
  if (read === undefined) return () => false;
  if (operator !== "exists" && key.toLowerCase() === archKey) return archTest(operator, values);
  if (operator === "exists") return (node) => read(node) !== undefined;
  const globs = values.map(globTest);
  const negated = operator === "!=" || operator === "not in";
  // An absent value is as an empty one: `==` fails and `!=` holds.
  return (node) => {
    const actual = (read(node) ?? "").toLowerCase();
    return globs.some((matches) => matches(actual)) !== negated;
  };
}

const archKey = "node.platform.arch";

/** An architecture has several names, and matches by any of them. */
function archTest(operator: ConstraintOperator, values: readonly string[]): (node: ConstrainedNode) => boolean {
  const globs = values.map((value) => globTest(archMeant(value)));
  const negated = operator === "!=" || operator === "not in";
  return ({ platform }) => {
    const names = platform === undefined ? [""] : archNames(platform);
    return globs.some((matches) => names.some(matches)) !== negated;
  };
}

/** Whether `==` or `in` lists whole values, without globs, so that an index can find the nodes. */
export function isExact({ key, operator, values }: Constraint): boolean {
  const positive = operator === "==" || operator === "in";
  return positive && !["node.ip", archKey].includes(key.toLowerCase()) && values.every((value) => !/[*?]/.test(value));
}

const attributes: ReadonlyMap<string, (node: ConstrainedNode) => string | undefined> = new Map([
  ["node.id", (node: ConstrainedNode) => node.id],
  ["node.hostname", (node: ConstrainedNode) => node.hostname],
  ["node.role", (node: ConstrainedNode) => node.role],
  ["node.platform.os", ({ platform }: ConstrainedNode) => platform && normalPlatform(platform).os],
  ["node.platform.arch", ({ platform }: ConstrainedNode) => platform && normalPlatform(platform).arch],
]);

/** Returns a reader of the value that a key names, or undefined if it names nothing. Names of attributes match in any case, names of labels exactly. */
export function topologyOf(key: string): ((node: ConstrainedNode) => string | undefined) | undefined {
  const lower = key.toLowerCase();
  const attribute = attributes.get(lower);
  if (attribute !== undefined) return attribute;
  for (const prefix of ["node.labels.", "engine.labels."] as const) {
    if (!lower.startsWith(prefix) || lower.length === prefix.length) continue;
    const name = key.slice(prefix.length);
    return (node) => {
      const labels = prefix === "node.labels." ? node.labels : node.engineLabels;
      return labels !== undefined && Object.hasOwn(labels, name) ? labels[name] : undefined;
    };
  }
  return undefined;
}

/** Whether a constraint's key names an attribute or label of nodes. A constraint with another key is met by no node, whatever the operator. */
export function isConstraintKey(key: string): boolean {
  return key.toLowerCase() === "node.ip" || topologyOf(key) !== undefined;
}

/** `*` stands for any run of characters, `?` for any one, all else for itself; both sides are lower case. */
function globTest(pattern: string): (value: string) => boolean {
  const glob = pattern.toLowerCase();
  return /[*?]/.test(glob) ? (value) => matchesGlob(glob, value) : (value) => value === glob;
}

/** Backtracks to the last `*` only, so it costs at most the product of the lengths. */
function matchesGlob(glob: string, text: string): boolean {
  let [at, in_, star, mark] = [0, 0, -1, 0];
  while (in_ < text.length) {
    if (glob[at] === "*") [star, mark] = [at++, in_];
    else if (at < glob.length && (glob[at] === "?" || glob[at] === text[in_])) [at, in_] = [at + 1, in_ + 1];
    else if (star >= 0) [at, in_] = [star + 1, ++mark];
    else return false;
  }
  while (glob[at] === "*") at += 1;
  return at === glob.length;
}

/** A malformed address or network is met by no node, for `!=` too. */
function addressTest(operator: ConstraintOperator, values: readonly string[]): (node: ConstrainedNode) => boolean {
  if (operator === "exists") return ({ address = "" }) => isIP(address) !== 0;
  const list = new BlockList();
  for (const value of values) {
    const [network = "", prefix, more] = value.split("/");
    const family = isIP(network);
    const bits = family === 4 ? 32 : 128;
    if (family === 0 || more !== undefined) return () => false;
    if (prefix !== undefined && (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)) return () => false;
    const plain = unmapped(network);
    const isPlain = plain === network;
    const length = prefix === undefined ? bits : Number(prefix);
    list.addSubnet(plain, isPlain ? length : Math.max(0, length - 96), ipFamily(plain));
  }
  const negated = operator === "!=" || operator === "not in";
  return ({ address = "" }) => {
    const plain = unmapped(address);
    return (isIP(plain) !== 0 && list.check(plain, ipFamily(plain))) !== negated;
  };
}

/** `::ffff:10.0.0.1` is 10.0.0.1. */
function unmapped(address: string): string {
  const tail = /^::ffff:(.*)$/i.exec(address)?.[1];
  return tail !== undefined && isIP(tail) === 4 ? tail : address;
}

function ipFamily(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 4 ? "ipv4" : "ipv6";
}
