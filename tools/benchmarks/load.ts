/** Clients that each wait for their write before the next: how many are done, and how long each took. */

/** Sends the write of client `slot`; `done` is called once it is acknowledged. */
export interface Driver {
  start(slot: number): void;
}

export interface LoadResult {
  readonly writes: number;
  readonly seconds: number;
  /** Milliseconds, one a write. */
  readonly took: readonly number[];
}

export const keyBytes = 8;
export const valueBytes = 256;
/** Distinct keys that are written, over and over. */
export const keys = 100_000;

/** The next write's key, then its value. */
export function nextWrite(): Buffer {
  const write = Buffer.allocUnsafe(keyBytes + valueBytes).fill(0x78, keyBytes);
  write.write(String(written++ % keys).padStart(keyBytes, "0"), 0, "latin1");
  return write;
}
let written = 0;

/** Runs `clients` clients for `durationMs`, on a driver that `connect` makes. */
export async function load(
  clients: number,
  durationMs: number,
  connect: (done: (slot: number) => void) => Promise<Driver>,
): Promise<LoadResult> {
  const began = new Float64Array(clients);
  const took: number[] = [];
  let under = clients;
  let end = Number.POSITIVE_INFINITY;
  const finished = Promise.withResolvers<void>();
  const driver = await connect((slot) => {
    const now = performance.now();
    took.push(now - (began[slot] ?? now));
    if (now < end) begin(slot);
    else if (--under === 0) finished.resolve();
  });
  const begin = (slot: number): void => {
    began[slot] = performance.now();
    driver.start(slot);
  };
  const start = performance.now();
  end = start + durationMs;
  for (let slot = 0; slot < clients; slot++) begin(slot);
  await finished.promise;
  return { writes: took.length, seconds: (performance.now() - start) / 1_000, took };
}
