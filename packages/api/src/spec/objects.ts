/** Checks of the smaller specs. */
import { canonicalRegistry, ipv4Text, parseIpv4Subnet, registryFault, type Ipv4Subnet } from "@warren/std";
import { z } from "zod";
import { invalid } from "../errors.ts";
import type { ClusterSpec } from "../generated/warren/v1/cluster.ts";
import type { RegistryAuth } from "../generated/warren/v1/container.ts";
import type { NetworkSpec } from "../generated/warren/v1/network.ts";
import { NodeSpec_Availability, type NodeSpec } from "../generated/warren/v1/node.ts";
import { defaultTaskPool, defaultVipPool } from "../model/pools.ts";
import { choice, labels, name, quoted, whole } from "./fields.ts";
import { limits } from "./limits.ts";
import { registryAuth } from "./task.ts";
import { check, crossRule, rule } from "./violations.ts";

const network: z.ZodType<NetworkSpec> = z.object({ name, labels });
const node: z.ZodType<NodeSpec> = z.object({
  labels,
  availability: choice(NodeSpec_Availability, NodeSpec_Availability.ACTIVE),
});

/** The network `default` and a node's /24 must fit, and a pool must not swallow the Internet. */
const widestPool = 8;
const narrowestPool = 23;

const overlap = (a: Ipv4Subnet, b: Ipv4Subnet): boolean => a.first < b.first + b.size && b.first < a.first + a.size;

/** What no pool may touch: this machine, link-local (the gateway's), multicast and beyond. */
const reserved = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];

function poolFault(text: string): string | undefined {
  const pool = parseIpv4Subnet(text);
  const want = "want an IPv4 subnet such as 10.77.0.0/16";
  if (pool === undefined) return `${quoted(text)}: ${want}`;
  if (text !== `${ipv4Text(pool.first)}/${pool.prefix}`)
    return `${quoted(text)} has bits set beyond its length: ${want}`;
  if (pool.prefix < widestPool || pool.prefix > narrowestPool)
    return `want a length from /${widestPool} to /${narrowestPool}, not /${pool.prefix}`;
  const taken = reserved.find((each) => overlap(pool, parseIpv4Subnet(each) as Ipv4Subnet));
  return taken === undefined ? undefined : `${quoted(text)} overlaps ${taken}, which has another meaning: ${want}`;
}

const pool = (fallback: string): z.ZodPreprocess<z.ZodString> =>
  z.preprocess((given) => (given === "" ? fallback : given), rule(z.string(), poolFault));

const cluster: z.ZodType<ClusterSpec> = crossRule(
  z.object({
    taskPool: pool(defaultTaskPool),
    vipPool: pool(defaultVipPool),
    taskHistory: whole(0, limits.taskHistory).default(5),
  }),
  ({ taskPool, vipPool }, fault) => {
    const [tasks, vips] = [parseIpv4Subnet(taskPool), parseIpv4Subnet(vipPool)];
    if (tasks !== undefined && vips !== undefined && overlap(tasks, vips))
      fault(["vipPool"], `${vipPool} overlaps task_pool, which is ${taskPool}: want two that are apart`);
  },
);

const registry = z.object({
  registry: rule(z.string(), registryFault),
  auth: rule(registryAuth.optional(), (value) => (value === undefined ? "is missing" : undefined)),
});

function present<T>(spec: T | undefined, field: string): T {
  if (spec === undefined) throw invalid([{ field, description: "is missing" }]);
  return spec;
}

/** @throws ApiError `API_INVALID` */
export function checkNetworkSpec(spec: NetworkSpec | undefined, field: string = "spec"): NetworkSpec {
  return check(network, present(spec, field), field);
}

/** @throws ApiError `API_INVALID` */
export function checkNodeSpec(spec: NodeSpec | undefined, field: string = "spec"): NodeSpec {
  return check(node, present(spec, field), field);
}

/** Absent: all defaults. @throws ApiError `API_INVALID` */
export function checkClusterSpec(spec: ClusterSpec | undefined, field: string = "spec"): ClusterSpec {
  return check(cluster, spec ?? { taskPool: "", vipPool: "" }, field);
}

/** What a login asks for. @throws ApiError `API_INVALID` */
export function checkRegistryLogin(login: { readonly registry: string; readonly auth: RegistryAuth | undefined }): {
  readonly registry: string;
  readonly auth: RegistryAuth;
} {
  const { registry: checked, auth } = check(registry, login, "");
  return { registry: canonicalRegistry(checked), auth: present(auth, "auth") };
}
