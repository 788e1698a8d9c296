/** Somebody who asks a service again and again while something is done to it. */
export interface Caller {
  readonly answers: readonly string[];
  readonly failures: readonly string[];
  /** Resolves when the last request has ended. */
  stop(): Promise<void>;
}

/** One request after the other, each on a connection of its own. */
export function keepAsking(ask: () => Promise<string>): Caller {
  const answers: string[] = [];
  const failures: string[] = [];
  const stopped = new AbortController();
  const asking = (async () => {
    while (!stopped.signal.aborted) {
      try {
        answers.push(await ask());
      } catch (error) {
        const { message, cause } = error as Error;
        failures.push(cause instanceof Error ? `${message}: ${cause.message}` : message);
      }
    }
  })();
  return {
    answers,
    failures,
    stop: () => {
      stopped.abort();
      return asking;
    },
  };
}

export async function fetchText(url: string): Promise<string> {
  return (await fetch(url, { headers: { connection: "close" } })).text();
}
