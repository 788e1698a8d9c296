import { assert, type Random } from "@warren/std";

/** One of them, each as likely. */
export function chosen<T>(random: Random, of: readonly T[]): T {
  const at = random.int(of.length);
  assert(at < of.length, "there is one to choose");
  return of[at] as T;
}

/** One of them, as likely as its weight says. */
export function drawn<T>(random: Random, weighted: readonly (readonly [T, number])[]): T {
  return chosen(
    random,
    weighted.flatMap(([what, weight]) => Array.from({ length: weight }, () => what)),
  );
}
