import type { RelayImage } from "@warren/api";
import { errorText } from "@warren/std";
import type { Relay, RelayDependencies } from "./relay.ts";

/** Sends what an image reference leads to, by this node's registries and the login that came with the question. */
export async function relayImage(
  { runtime }: RelayDependencies,
  { image, auth }: RelayImage,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const { digest, source } = await runtime.resolveImage(image, { signal, ...(auth !== undefined && { auth }) });
  const because = source.kind === "local" ? source.because : undefined;
  const fromStoreSince = because === undefined ? "" : errorText(because);
  await relay.send({ $case: "image", value: { digest, fromStoreSince } });
}
