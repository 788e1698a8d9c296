/**
 * Aborted by the first SIGTERM or SIGINT. A second one ends the process at once, with exit code 128 and the signal's number.
 */
export function terminationSignal(): AbortSignal {
  const abort = new AbortController();
  for (const [name, number] of [
    ["SIGTERM", 15],
    ["SIGINT", 2],
  ] as const) {
    process.on(name, () => {
      if (abort.signal.aborted) process.exit(128 + number);
      abort.abort(new DOMException(name, "AbortError"));
    });
  }
  return abort.signal;
}
