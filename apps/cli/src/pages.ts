import type { Page } from "@warren/api";

/** All pages of a list, one after the other. */
export async function pages<A extends { readonly nextPageToken: string }, T>(
  ask: (page: Page) => Promise<A>,
  items: (answer: A) => readonly T[],
): Promise<T[]> {
  const all: T[] = [];
  let token = "";
  do {
    const answer = await ask({ size: 1_000, token });
    all.push(...items(answer));
    token = answer.nextPageToken;
  } while (token !== "");
  return all;
}
