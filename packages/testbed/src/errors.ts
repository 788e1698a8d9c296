/** A request that a test bed can't fulfil: what, why, and what to do. */
export class TestbedError extends Error {
  override readonly name = "TestbedError";
}
