/** Refusals of the API in the words of the command line: `--mount`, not `spec.task.container.mounts[0].target`. Pure. */
import type { FieldViolation } from "@warren/api";

/** Field of a request, as the API names it → what sets it on the command line: `--env`, `NAME`. */
export type FieldWords = Readonly<Record<string, string>>;

/** All that is wrong, each by what was typed. */
export function violationText(violations: readonly FieldViolation[], words: FieldWords): string {
  return violations.map((violation) => oneText(violation, words)).join("; ");
}

/** Characters of a key that an error repeats. */
const mostShown = 80;

function oneText({ field, description }: FieldViolation, words: FieldWords): string {
  const known = Object.keys(words)
    .filter((each) => field === each || field.startsWith(`${each}.`) || field.startsWith(`${each}[`))
    .toSorted((a, b) => b.length - a.length)
    .at(0);
  if (known === undefined) return `${field}: ${description}`;
  // An entry of a map has a name that was typed; one of a list only a number that was not.
  const [, key] = /^\["(.*)"\]/.exec(field.slice(known.length)) ?? [];
  const shown = key === undefined || key.length <= mostShown ? key : `${key.slice(0, mostShown)}…`;
  return `${words[known] ?? ""}${shown === undefined ? "" : ` ${shown}`}: ${description}`;
}
