/** `cluster leave` puts back all that a cluster has changed on its machine. */
import { beforeAll, expect, test } from "vitest";
import type { Machine } from "../machine.ts";
import { create, initCommand, machineAt, untilRunning } from "./cluster.ts";

let machine: Machine;
beforeAll(async () => {
  machine = await machineAt("booted");
});

/**
 * Things of a machine that a cluster may touch, each a line. Not here, as they are others' and stay: containerd's and its
 * shims' empty folders in /run/containerd, Node's cache of compiled code in /tmp, and the controllers that runc enables
 * in the root cgroup.
 */
const inventory = {
  files:
    "find /etc /usr/local /opt /root /home /srv /var /run /tmp -xdev -not -path '/run/systemd/*' -not -path '/run/udev/*' -not -path '/run/log/*' -not -path '/var/log/*' -not -path '/run/user/*' -not -path '/var/lib/containerd/*' -not -path '/run/containerd/*' -not -path '/tmp/node-compile-cache*' -not -path '/var/lib/docker-registry/*' -not -path '/var/lib/systemd/*' -not -path '/run/credentials*' -not -path '/var/tmp/systemd-private*' -not -path '/tmp/systemd-private*' -not -path '/root/.ssh*' -printf '%y %m %p\\n'",
  containerd: "ctr namespaces list -q; for n in $(ctr namespaces list -q); do ctr -n $n containers list -q; done",
  snapshots: "ls /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
  // Without those that count something, and those of modules and interfaces that come and go.
  sysctls:
    "sysctl -a 2>/dev/null | grep -vE 'random|state|-nr |nr_|count|last_pid|quota.syncs|netfilter|nf_conntrack|conf\\.wr|neigh\\.wr|pty|ldisc'",
  rules: "nft list ruleset",
  legacyRules: "iptables-legacy-save 2>/dev/null | grep -v '^#'; true",
  cgroups: "find /sys/fs/cgroup -type d -not -path '*/system.slice/*' -not -path '*/user.slice*'",
  interfaces:
    "ip -o addr | sed 's/ valid_lft.*//; s/\\\\.*//'; ip route show table all | sed 's/expires [0-9]*sec//'; ip rule",
  namespaces: "ip netns list; lsns -t net -n -o NS | sort",
  mounts: "cut -d' ' -f2,3 /proc/self/mounts | sort",
  units:
    "systemctl list-unit-files --no-legend; systemctl list-units --no-legend --plain --all --type=service,socket,timer,mount | awk '{print $1, $2, $3}' | grep -vE 'ssh@|systemd-(tmpfiles-clean|hostnamed|timedated|networkd-wait-online)|session'",
  processes: "ps -e -o comm= | grep -vE '^(kworker|ps|grep|sort|sshd|sh|bash|cut|irq|kauditd|jbd2|psimon)' | sort -u",
} satisfies Readonly<Record<string, string>>;

type Kind = keyof typeof inventory;

async function take(): Promise<ReadonlyMap<Kind, readonly string[]>> {
  const taken = new Map<Kind, readonly string[]>();
  for (const [kind, line] of Object.entries(inventory))
    taken.set(kind as Kind, (await machine.ok(line)).split("\n").filter(Boolean));
  return taken;
}

test("after leave the machine is as it was before init", async () => {
  const before = await take();
  await machine.ok(initCommand);
  await create(machine, "web", "--replicas", "2", "-p", "8080:80", "--mount", "type=volume,src=data,dst=/data");
  await untilRunning(machine, "web", 2);
  const during = await take();
  // The inventory sees what there is to see.
  for (const kind of ["files", "containerd", "rules", "cgroups", "interfaces", "units", "processes"] as const)
    expect(difference(before, during).get(kind) ?? [], kind).not.toEqual([]);

  await machine.ok("warren cluster leave --force --volumes");
  expect(Object.fromEntries(difference(before, await take()))).toEqual({});
});

/** What is there and was not, and what was there and is not, by kind; kinds without any are left out. */
function difference(
  before: ReadonlyMap<Kind, readonly string[]>,
  after: ReadonlyMap<Kind, readonly string[]>,
): ReadonlyMap<Kind, readonly string[]> {
  const changed = new Map<Kind, readonly string[]>();
  for (const [kind, now] of after) {
    const then = before.get(kind) ?? [];
    const lines = [
      ...now.filter((line) => !then.includes(line)).map((line) => `+ ${line}`),
      ...then.filter((line) => !now.includes(line)).map((line) => `- ${line}`),
    ];
    if (lines.length > 0) changed.set(kind, lines);
  }
  return changed;
}
