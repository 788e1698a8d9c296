/** The main job: two commands, three containers that answer, and their replacement. */
import { expect, test } from "vitest";
import { slotKeyText } from "@warren/api/model";
import { until } from "@warren/std/testing";
import { Machine } from "./machine.ts";

test("a service's containers answer by name and port, and one that dies is replaced", async () => {
  await using machine = await Machine.start();
  const image = await machine.push("first/web:1", {
    config: { Cmd: ["sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"] },
  });
  await machine.ok(
    "service",
    "create",
    "web",
    "--image",
    image,
    "--replicas",
    "3",
    "-p",
    "0:80",
    "--health-http",
    "80/",
    "--health-interval",
    "200ms",
    "--restart-delay",
    "100ms",
  );
  await machine.ok("service", "create", "client", "--image", image, "--", "sleep", "100000");
  const port = (await machine.client.services.get({ ref: "web" })).endpoint?.ports[0]?.published ?? 0;

  const ways: Readonly<Record<string, () => Promise<string>>> = {
    name: () => machine.ok("task", "exec", "client.1", "--", "wget", "-qO-", "http://web/"),
    port: async () => (await fetch(`http://127.0.0.1:${port}/`)).text(),
  };
  for (const [way, ask] of Object.entries(ways)) {
    const seen = new Set<string>();
    await until(`all three answer by ${way}`, async () => seen.add(await ask()).size === 3, 30_000);
  }

  const before = await machine.running("web");
  process.kill(before[1]?.status?.container?.pid ?? 0, "SIGKILL");
  const after = await until(
    "three run again, one of them new",
    async () => {
      const now = await machine.running("web");
      return now.length === 3 && now[1]?.meta?.id !== before[1]?.meta?.id && now;
    },
    30_000,
  );
  expect(after.map(({ slot }) => slotKeyText(slot))).toEqual(["1", "2", "3"]);
  expect(await machine.ok("service", "tasks", "web")).toContain("ended with exit code 137");
  expect(await machine.ok("why", "web")).toContain("3 of 3");
});
