import type { Change, Link } from "@warren/netlink-napi";
import { RecordingLogger, until } from "@warren/std/testing";
import { expect, test } from "vitest";
import { watchAddresses } from "../src/node-addresses.ts";

test("a node's addresses are those of its own links, as they are then; the gateway where there are none", async () => {
  const links = ["lo", "eth0", "wr0123456789abc", "warren-probe", "wlan0"].map((name, at): Link => ({
    name,
    index: at + 1,
    mtu: 1_500,
    up: true,
  }));
  let addresses = ["1 127.0.0.1/8", "3 169.254.1.1/32", "4 192.0.2.1/30", "5 169.254.9.9/16", "2 2001:db8::1/64"];
  let changed: (change: Change) => void = () => undefined;
  let closed = false;
  const close = (): void => void (closed = true);
  let fails = false;
  const log = new RecordingLogger();
  const netlink = {
    links: async () => links,
    addresses: async () => {
      if (fails) throw new Error("no answer");
      return addresses.map((text) => ({ linkIndex: Number(text.split(" ")[0]), address: text.split(" ")[1] ?? "" }));
    },
    watch: (_groups: readonly string[], listener: (change: Change) => void) => {
      changed = listener;
      return { close, [Symbol.dispose]: close };
    },
  };
  const node = await watchAddresses({ netlink, log });
  expect(node.current).toEqual(["169.254.1.1"]);
  addresses = [...addresses, "2 198.51.100.7/24", "5 203.0.113.9/24"];
  changed({ what: "lost" });
  await until("they are read again", () => node.current.length === 2);
  expect(node.current).toEqual(["198.51.100.7", "203.0.113.9"]);
  fails = true;
  changed({ what: "lost" });
  await until("the failure is logged", () =>
    log.records.some(({ event }) => event === "the node's addresses could not be read"),
  );
  expect(node.current).toEqual(["198.51.100.7", "203.0.113.9"]);
  node.close();
  expect(closed).toBe(true);
});
