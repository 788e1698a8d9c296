import { ExecOpen, LeaseReport, LeaseReport_State, Version, type ExecRequest, type ExecResponse } from "@warren/api";
import { leaseKey } from "@warren/api/model";
import { until } from "@warren/std/testing";
import type { FakeManager, ManagerUnderTest } from "../../src/testing/index.ts";

/** A manager of the contract of sessions. */
export function managed(manager: FakeManager): ManagerUnderTest {
  const epoch = { reign: 1, index: 1 };
  let [versions, relays] = [0, 0];
  const held = (slotId: string): LeaseReport =>
    LeaseReport.fromPartial({ slotId, epoch, state: LeaseReport_State.HELD, versionId: "v", address: "10.77.1.2" });
  return {
    nodeId: "node",
    async change() {
      const id = `v${(versions += 1)}`;
      manager.assign("version", id, Version.fromPartial({ meta: { id } }));
    },
    own: async () => held("svc.1"),
    async foreign() {
      manager.refusedSlots.add("svc.2");
      return held("svc.2");
    },
    isStored: ({ slotId, epoch: of }) => manager.reports.has(leaseKey(slotId, of)),
    exec: (input, signal) => exec(manager, `r${(relays += 1)}`, input, signal),
    async depose() {
      manager.refuseReports = true;
    },
  };
}

async function* exec(
  manager: FakeManager,
  relayId: string,
  input: AsyncIterable<ExecRequest>,
  signal: AbortSignal,
): AsyncGenerator<ExecResponse, void, void> {
  manager.relay({ relayId, what: { $case: "exec", value: ExecOpen.create() } });
  const { up, down, ended } = await until("the worker opens a stream", () => manager.relays.get(relayId));
  signal.addEventListener("abort", () => down.push({ message: { $case: "end", value: true } }));
  const sending = async (): Promise<void> => {
    for await (const value of input) down.push({ message: { $case: "exec", value } });
  };
  void sending();
  let over = false;
  void ended.then(() => (over = true));
  for (let at = 1; ; at += 1) {
    await until("the worker sends more, or has gone", () => up.length > at || over);
    const { message } = up[at] ?? {};
    if (message === undefined) throw new Error("the worker has gone");
    if (message.$case === "done") return;
    if (message.$case === "exec") yield message.value;
  }
}
