import type { RegistryLogin } from "@warren/api";
import type { Relay, RelayDependencies } from "./relay.ts";

/** Sends whether a registry accepts a login, as this node reaches it. */
export async function relayLogin(
  { runtime }: RelayDependencies,
  { registry, auth }: RegistryLogin,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const accepted = await runtime.checkLogin(registry, auth ?? { username: "", password: "" }, signal);
  await relay.send({ $case: "loginAccepted", value: accepted });
}
