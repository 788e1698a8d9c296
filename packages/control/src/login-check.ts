/** What a registry says of a login, and the tasks that wait for one. */
import { ApiError, NodeStatus_State, type LoginCheck, type RegistryAuth, type Slot } from "@warren/api";
import { hasEnded, newestTask } from "@warren/api/model";
import { delay, registryOfImage } from "@warren/std";
import type { Transaction, View } from "@warren/store";
import { idOf, nodeName } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";

/** How long the nodes that are asked have for their answers, all together, ms. */
const answersMs = 10_000;
/** Nodes that are asked one after the other, if they can't answer. */
const mostNodes = 3;

interface Login {
  readonly registry: string;
  readonly auth: RegistryAuth;
}

/** Has a ready node ask the registry, since nodes pull, and from where they are. */
export class LoginChecker {
  readonly #dependencies: Pick<ControlDependencies, "relay" | "clock">;

  constructor(dependencies: Pick<ControlDependencies, "relay" | "clock">) {
    this.#dependencies = dependencies;
  }

  /** @throws ApiError `API_DENIED` where the registry refuses the login */
  async check(view: View, login: Login, signal: AbortSignal): Promise<LoginCheck> {
    const { relay, clock } = this.#dependencies;
    const { registry } = login;
    const ready = view.list("nodes").filter(({ status }) => status?.state === NodeStatus_State.READY);
    const inTime = new AbortController();
    const all = AbortSignal.any([signal, inTime.signal]);
    const isLate = (): "late" => "late";
    const late = delay(clock, answersMs, all).then(isLate, isLate);
    let reason = "no node is ready";
    try {
      for (const node of ready.slice(0, mostNodes)) {
        const answer = relay.login(idOf(node), { registry, auth: login.auth }, all);
        const accepted = await Promise.race([answer.catch((error: unknown) => passing(error, registry)), late]);
        signal.throwIfAborted();
        if (accepted === true) return { accepted, text: `${registry} accepted the login` };
        if (accepted === false)
          return { accepted: true, text: `${registry} asks for no login, so this one could not be checked` };
        if (accepted === "late") return unasked(registry, `no answer within ${answersMs / 1_000} s`);
        reason = `${nodeName(node)}: ${accepted}`;
      }
      return unasked(registry, reason);
    } finally {
      inTime.abort();
    }
  }
}

function unasked(registry: string, reason: string): LoginCheck {
  return { accepted: false, text: `${registry} could not be asked whether it accepts the login: ${reason}` };
}

/** Why a node could not say. @throws ApiError the registry's refusal, and what is no failure of the API */
function passing(error: unknown, registry: string): string {
  if (!ApiError.is(error)) throw error;
  if (!ApiError.is(error, "API_DENIED")) return error.message;
  throw new ApiError({ code: "API_DENIED" }, `${registry} refused the login, so it was not stored: ${error.message}`, {
    cause: error,
    remedy: "check the user name and the password; some registries want a token in its place",
  });
}

/** What ends such a wait: the registry said no, or that there is no such image, which it also says to strangers. */
const waitsForLogin: ReadonlySet<string> = new Set(["RUNTIME_REGISTRY_UNAUTHORIZED", "RUNTIME_IMAGE_NOT_FOUND"]);

/** Ends the back-off of slots whose last task could not pull from the registry: what it waited for may be there now. */
export function tryAgain(tx: Transaction, registry: string): void {
  for (const slot of tx.list("slots"))
    if (slot.retryAt !== undefined && isRefused(tx, slot, registry))
      tx.update("slots", { ...slot, retryAt: undefined, retryWaitMs: 0 });
}

function isRefused(tx: Transaction, slot: Slot, registry: string): boolean {
  const last = newestTask(tx.find("tasks", "slot", idOf(slot)).filter(hasEnded));
  if (last === undefined || !waitsForLogin.has(last.status?.code ?? "")) return false;
  const spec = tx.get("versions", last.versionId)?.task;
  return (spec?.registryLogin || registryOfImage(spec?.container?.image ?? "")) === registry;
}
