export async function superviseContainerd(
  _a: unknown,
  _b: unknown,
): Promise<{ address: string; close(): Promise<void> } & AsyncDisposable> {
  throw new Error("not here yet");
}
