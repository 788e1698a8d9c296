import { FakeFirewall, firewallContract } from "@warren/firewall/testing";
import { test } from "vitest";

test.each(firewallContract)("the fake firewall: $title", async ({ run }) => {
  const firewall = new FakeFirewall({ refuses: (text) => text.includes("nonsense") });
  await run({
    firewall,
    rules: async () => [...firewall.texts.values()].join("\n"),
    flush: () => firewall.flush(),
  });
});
