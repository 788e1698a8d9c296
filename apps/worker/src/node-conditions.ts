/** What is not as it should be on a node, in words, with what mends it. Pure. */
import type { Condition } from "@warren/agent";
import type { WithheldPort } from "@warren/net-loadbalancer";
import type { RuntimeInfo } from "@warren/runtime";
import { knownRuntimeFaults } from "@warren/runtime-containerd";

/** The holes that are known of the machine's OCI runtime. */
export function runtimeConditions(info: Pick<RuntimeInfo, "ociRuntime">): Condition[] {
  return knownRuntimeFaults(info).map(({ id, what, remedy }) => ({
    code: "RUNTIME_FAULT",
    subject: id,
    message: `${info.ociRuntime}: ${what}`,
    remedy,
  }));
}

/** @param serviceNames by id */
export function portConditions(
  withheld: readonly WithheldPort[],
  serviceNames: ReadonlyMap<string, string>,
): Condition[] {
  return withheld.map(({ serviceId, protocol, published, reason }) => {
    const name = serviceNames.get(serviceId) ?? serviceId;
    const port = `${published}/${protocol}`;
    const list = `ss -ln${protocol === "tcp" ? "t" : "u"}p 'sport = :${published}'`;
    return {
      code: reason === "reserved" ? "PORT_RESERVED" : "PORT_IN_USE",
      subject: port,
      serviceIds: [serviceId],
      message: `port ${port} of service ${name} is not published: ${
        reason === "reserved" ? "it is one of Warren's own" : "a program of the node listens on it"
      }`,
      remedy:
        reason === "reserved"
          ? `publish another: warren service update ${name} --publish`
          : `end the program (${list}), then: warren service update ${name} --force; or publish another port`,
    };
  });
}
