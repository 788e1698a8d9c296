import { assert, type Random } from "@warren/std";

/** One of them, each as likely. */
export function chosen<T>(random: Random, of: readonly T[]): T {
  const [item] = of.slice(random.int(of.length));
  assert(item !== undefined, "there is one to choose");
  return item;
}

/** One of them, as likely as its weight says. */
export function drawn<T>(random: Random, weighted: readonly (readonly [T, number])[]): T {
  return chosen(
    random,
    weighted.flatMap(([what, weight]) => Array.from({ length: weight }, () => what)),
  );
}
