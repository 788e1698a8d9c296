import { BlockList, isIP } from "node:net";
import { SchedulerError } from "./errors.ts";
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

/** `==` is looked for before `!=`, wherever it stands, as Swarm does. */
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
  return constraints.every((each) => matches(each, node));
}

function matches({ key, operator, values }: Constraint, node: ConstrainedNode): boolean {
  if (key.toLowerCase() === "node.ip") return matchesAddress(operator, values, node.address ?? "");
  const actual = attribute(key, node);
  if (actual === undefined) return false;
  if (operator === "exists") return actual.present;
  const equal = values.some((value) => matchesGlob(value, actual.value));
  return operator === "==" || operator === "in" ? equal : !equal;
}

interface Attribute {
  readonly present: boolean;
  /** Empty where it is absent: `==` fails and `!=` holds. */
  readonly value: string;
}

/** Names of attributes match in any case, names of labels exactly. */
function attribute(key: string, node: ConstrainedNode): Attribute | undefined {
  const lower = key.toLowerCase();
  if (lower === "node.id") return present(node.id);
  if (lower === "node.hostname") return present(node.hostname);
  if (lower === "node.role") return present(node.role);
  if (lower === "node.platform.os") return present(node.platform?.os);
  if (lower === "node.platform.arch") return present(node.platform?.arch);
  for (const [prefix, labels] of [
    ["node.labels.", node.labels],
    ["engine.labels.", node.engineLabels],
  ] as const) {
    if (!lower.startsWith(prefix) || lower.length === prefix.length) continue;
    const name = key.slice(prefix.length);
    return present(labels !== undefined && Object.hasOwn(labels, name) ? labels[name] : undefined);
  }
  return undefined;
}

function present(value: string | undefined): Attribute {
  return { present: value !== undefined, value: value ?? "" };
}

/** `*` stands for any run of characters; all else for itself, in any case. */
function matchesGlob(pattern: string, value: string): boolean {
  const [first = "", ...rest] = pattern.toLowerCase().split("*");
  const text = value.toLowerCase();
  if (rest.length === 0) return text === first;
  if (!text.startsWith(first)) return false;
  const last = rest.pop() ?? "";
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}

/** A malformed address or network is met by no node, for `!=` too. */
function matchesAddress(operator: ConstraintOperator, values: readonly string[], address: string): boolean {
  if (operator === "exists") return isIP(address) !== 0;
  const list = new BlockList();
  for (const value of values) {
    const [network = "", prefix, more] = value.split("/");
    const family = isIP(network);
    if (family === 0 || more !== undefined) return false;
    const bits = family === 4 ? 32 : 128;
    if (prefix !== undefined && (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)) return false;
    list.addSubnet(network, prefix === undefined ? bits : Number(prefix), family === 4 ? "ipv4" : "ipv6");
  }
  const family = isIP(address);
  const within = family !== 0 && list.check(address, family === 4 ? "ipv4" : "ipv6");
  return operator === "==" || operator === "in" ? within : !within;
}
