import type { RelayImage } from "@warren/api";
import { errorText } from "@warren/std";
import type { Relay, RelayDependencies } from "./relay.ts";

/** Sends the digest that this node resolves an image reference to, with the request's login. */
export async function relayImage(
  { runtime }: RelayDependencies,
  { image, auth }: RelayImage,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const { digest, source } = await runtime.resolveImage(image, { signal, ...(auth !== undefined && { auth }) });
  const because = source.kind === "local" ? source.because : undefined;
  const localReason = because === undefined ? "" : errorText(because);
  await relay.send({ $case: "image", value: { digest, localReason } });
}
