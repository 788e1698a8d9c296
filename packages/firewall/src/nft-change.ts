import type { NftObject } from "./types.ts";

/** The text of objects inside `table ip NAME { … }`. */
export function nftTable(objects: readonly NftObject[]): string {
  return objects.map(objectText).join("");
}

function objectText(object: NftObject): string {
  if ("chain" in object) {
    const lines = object.hook === undefined ? object.rules : [object.hook, ...object.rules];
    return `\tchain ${object.chain} {\n${lines.map((line) => `\t\t${line}\n`).join("")}\t}\n`;
  }
  // nft takes no empty list.
  const elements = object.elements.length === 0 ? "" : `\t\telements = { ${object.elements.join(", ")} }\n`;
  const kind = object.type.includes(" : ") ? "map" : "set";
  return `\t${kind} ${object.map} {\n\t\ttype ${object.type}\n${elements}\t}\n`;
}

function nameOf(object: NftObject): string {
  return "chain" in object ? object.chain : object.map;
}

/** Whether the two differ in rules or elements only: hooks and types can't be changed in place. */
function sameKind(a: NftObject, b: NftObject): boolean {
  if ("chain" in a) return "chain" in b && a.hook === b.hook;
  return "map" in b && a.type === b.type;
}

function sameLines(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}

/** A change that touches more than this share of the objects is no quicker than the whole table. */
const wholeFrom = 0.25;

/**
 * The commands that turn the table `before` into `after`, in one transaction; undefined where the whole table has to
 * be applied, or where so much changes that it is as quick.
 *
 * The order is such that no object is named before it exists, or removed while it is named: new chains, removed
 * elements, rules, new elements, removed chains.
 */
export function nftChange(
  table: string,
  before: readonly NftObject[],
  after: readonly NftObject[],
): string[] | undefined {
  const old = new Map(before.map((object) => [nameOf(object), object]));
  const newChains: string[] = [];
  const fewer: string[] = [];
  const rules: string[] = [];
  const more: string[] = [];
  let touched = 0;
  for (const object of after) {
    const name = nameOf(object);
    const was = old.get(name);
    old.delete(name);
    if (was !== undefined && !sameKind(was, object)) return undefined;
    if ("chain" in object) {
      if (was === undefined && object.hook !== undefined) return undefined;
      if (was !== undefined && "chain" in was && sameLines(was.rules, object.rules)) continue;
      if (was === undefined) newChains.push(`add chain ${table} ${name}`);
      else rules.push(`flush chain ${table} ${name}`);
      rules.push(...object.rules.map((rule) => `add rule ${table} ${name} ${rule}`));
    } else {
      if (was === undefined || !("map" in was)) return undefined;
      if (sameLines(was.elements, object.elements)) continue;
      const had = new Set(was.elements);
      const has = new Set(object.elements);
      const gone = was.elements.filter((element) => !has.has(element));
      const come = object.elements.filter((element) => !had.has(element));
      if (gone.length > 0) fewer.push(`delete element ${table} ${name} { ${gone.join(", ")} }`);
      if (come.length > 0) more.push(`add element ${table} ${name} { ${come.join(", ")} }`);
    }
    touched += 1;
  }
  const goneChains: string[] = [];
  for (const object of old.values()) {
    // A removed set may be named by a removed rule: rare, so the whole table is applied.
    if ("map" in object || object.hook !== undefined) return undefined;
    goneChains.push(object.chain);
  }
  if (touched + goneChains.length > Math.max(8, after.length * wholeFrom)) return undefined;
  // Rules first, then the chains: a removed chain may name another.
  const emptied = goneChains.map((chain) => `flush chain ${table} ${chain}`);
  const removed = goneChains.map((chain) => `delete chain ${table} ${chain}`);
  return [...newChains, ...fewer, ...rules, ...more, ...emptied, ...removed];
}
