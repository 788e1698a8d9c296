/** One way to log in that a server offers (RFC 9110, 11.3). */
export interface Challenge {
  /** In lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case. The first of a name counts. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** No server offers more than a few; the rest is not read. */
const mostChallenges = 8;

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const separator = /[\s,]*/y;
const schemeStart = new RegExp(`(${token})(?=[\\s,]|$)`, "y");
const parameter = new RegExp(
  `[\\s,]*(${token})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))(?=[\\s,]|$)`,
  "ys",
);
/** A scheme's credentials in one word, which no scheme of registries has. */
const token68 = /[ \t]+[A-Za-z0-9._~+/-]+=*(?=[\s,]|$)/y;

/**
 * All challenges of a `WWW-Authenticate` header, in order, whose lines were joined by commas. What follows a text that
 * is not of the grammar is left out.
 */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (expression: RegExp): RegExpExecArray | undefined => {
    expression.lastIndex = at;
    const found = expression.exec(header) ?? undefined;
    if (found !== undefined) at = expression.lastIndex;
    return found;
  };
  while (challenges.length < mostChallenges) {
    take(separator);
    const scheme = take(schemeStart)?.[1];
    if (scheme === undefined) break;
    const parameters = new Map<string, string>();
    for (let found = take(parameter); found !== undefined; found = take(parameter)) {
      const [, name = "", inQuotes, bare = ""] = found;
      const key = name.toLowerCase();
      if (!parameters.has(key)) parameters.set(key, inQuotes?.replaceAll(/\\(.)/gs, "$1") ?? bare);
    }
    if (parameters.size === 0) take(token68);
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
  return challenges;
}
