import type { Page } from "@warren/api";
import { field } from "./failures.ts";
import { limits } from "./limits.ts";

export interface Listing<T> {
  /** What the list is of; a token of another list is refused. */
  readonly of: string;
  readonly objects: readonly T[];
  /** Unique, and never changed: the order of the list. */
  readonly keyOf: (object: T) => string;
  /** Bytes of an object in an answer. */
  readonly bytesOf: (object: T) => number;
}

/**
 * A part of a list that is ordered by key. A token names the key that the part before ended with, so that it keeps its
 * meaning whatever comes and goes; nothing is given twice.
 *
 * @throws ApiError `API_INVALID` for a token that is none, or of another list
 */
export function pageOf<T>(
  page: Page | undefined,
  { of, objects, keyOf, bytesOf }: Listing<T>,
): { readonly items: readonly T[]; readonly nextPageToken: string } {
  const { size = 0, token = "" } = page ?? {};
  if (size > limits.pageSize)
    throw field("page.size", `want at most ${limits.pageSize.toLocaleString("en")}, not ${size}`);
  const most = size === 0 ? limits.defaultPageSize : size;
  const after = token === "" ? undefined : readToken(token, of);
  const rest = first(keyed(objects, keyOf, after), most + 1);
  const items: T[] = [];
  let bytes = 0;
  let last = "";
  for (const { key, object } of rest) {
    if (items.length === most || bytes > limits.pageBytes) return { items, nextPageToken: writeToken(of, last) };
    items.push(object);
    bytes += bytesOf(object);
    last = key;
  }
  return { items, nextPageToken: "" };
}

interface Keyed<T> {
  readonly key: string;
  readonly object: T;
}

function* keyed<T>(
  objects: readonly T[],
  keyOf: (object: T) => string,
  after: string | undefined,
): Generator<Keyed<T>, void, void> {
  for (const object of objects) {
    const key = keyOf(object);
    if (after === undefined || key > after) yield { key, object };
  }
}

/** The first `count` in order, without putting all in order: a page is small beside its list. */
function first<T>(items: Iterable<Keyed<T>>, count: number): Keyed<T>[] {
  const kept: Keyed<T>[] = [];
  let bound: string | undefined;
  for (const item of items) {
    if (bound !== undefined && item.key > bound) continue;
    kept.push(item);
    if (kept.length < count * 4) continue;
    kept.sort(byKey).length = count;
    bound = kept.at(-1)?.key;
  }
  return kept.sort(byKey).slice(0, count);
}

/** By UTF-16, as `>` has it; not by a locale, which could change between two parts. */
function byKey(a: Keyed<unknown>, b: Keyed<unknown>): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

function writeToken(of: string, key: string): string {
  return Buffer.from(JSON.stringify([of, key])).toString("base64url");
}

function readToken(token: string, of: string): string {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Array.isArray(value) && value.length === 2 && value[0] === of && typeof value[1] === "string") return value[1];
  } catch {
    // Told below.
  }
  throw field("page.token", "is no next_page_token of this list; leave it empty to begin");
}

/** A number in a key, so that 10 comes after 9. */
export function ordinal(value: number): string {
  return String(value).padStart(10, "0");
}
