import { describe, expect, test } from "vitest";
import { runProgram, startFirewall, type RulesEvents, type RuleTable, type Run } from "@warren/firewall";
import { FakeClock, RecordingLogger, seededRandom, until } from "@warren/std/testing";

const table: RuleTable = {
  name: "t",
  nft: () => [{ map: "x", type: "mark", elements: [] }],
  iptables: () => ({ filter: [], nat: [] }),
};

/** Programs that are installed, and what the next runs of nft give. */
function machine(installed: readonly string[]) {
  const inputs: string[] = [];
  const failures: string[] = [];
  let notify: Parameters<RulesEvents["watchRules"]>[0] = () => undefined;
  const run: Run = async (program, args, input) => {
    if (!installed.includes(program)) throw Object.assign(new Error("none"), { code: "ENOENT" });
    if (args[0] === "list") return { code: 1, stdout: "", stderr: "" };
    if (args[0] === "-f") {
      const failure = failures.shift();
      if (failure !== undefined) return { code: 1, stdout: "", stderr: failure };
      inputs.push(input ?? "");
    }
    return { code: 0, stdout: "", stderr: "" };
  };
  const events: RulesEvents = {
    watchRules(listener) {
      notify = listener;
      return { close: () => (notify = () => undefined) };
    },
  };
  const mark = (): string => /chain (?:ip warren_t )?(mark_\w+)(?! *\n *add)/.exec(inputs.at(-1) ?? "")?.[1] ?? "";
  return { inputs, failures, run, events, mark, notify: (change: Parameters<typeof notify>[0]) => notify(change) };
}

describe("the backend", () => {
  test.each([
    [["nft", "iptables-restore"], "nft"],
    [["iptables-restore"], "iptables"],
  ])("with %j installed is %s", async (installed, backend) => {
    await using firewall = await startFirewall(machine(installed));
    expect(firewall.backend).toBe(backend);
  });

  test("is refused when there is none", async () => {
    await expect(startFirewall(machine([]))).rejects.toMatchObject({ code: "FIREWALL_NO_BACKEND" });
  });
});

describe("a kept table", () => {
  const foreign = { what: "new", tables: [{ name: "warren_t", newChains: [] }] } as const;

  test("is left alone when the kernel notifies of our own transaction, and of those on other tables", async () => {
    const m = machine(["nft"]);
    await using firewall = await startFirewall(m);
    await firewall.apply(table);
    m.notify({
      what: "new",
      tables: [
        { name: "warren_t", newChains: [m.mark()] },
        { name: "theirs", newChains: [] },
      ],
    });
    await firewall.apply({ ...table, name: "u" });
    expect(m.inputs).toHaveLength(2);
  });

  test("is restored once for a burst of changes, and again when another program loaded an old copy of it", async () => {
    const m = machine(["nft"]);
    await using firewall = await startFirewall(m);
    await firewall.apply(table);
    const old = m.mark();
    m.notify({ what: "new", tables: [{ name: "warren_t", newChains: [old] }] });
    for (let i = 0; i < 5; i++) m.notify(foreign);
    await until("it is back", () => m.inputs.length === 2);
    m.notify({ what: "new", tables: [{ name: "warren_t", newChains: [m.mark()] }] });
    m.notify({ what: "new", tables: [{ name: "warren_t", newChains: [old] }] });
    await until("it is back again", () => m.inputs.length === 3);
  });

  test("is compared when notifications were lost, and restored if it is gone", async () => {
    const m = machine(["nft"]);
    await using firewall = await startFirewall(m);
    await firewall.apply(table);
    m.notify({ what: "lost" });
    await until("it is back", () => m.inputs.length === 2);
  });

  test("whose restore fails is restored again after a delay, and the failure is logged", async () => {
    const m = machine(["nft"]);
    const log = new RecordingLogger();
    const clock = new FakeClock();
    await using firewall = await startFirewall({ ...m, log, clock, random: seededRandom(1) });
    await firewall.apply(table);
    m.failures.push("no room");
    m.notify(foreign);
    await until("the failure is logged", () => log.records.some(({ level }) => level === "error"));
    expect(m.inputs).toHaveLength(1);
    clock.advance(200);
    await until("it is back", () => m.inputs.length === 2);
  });

  test("that is removed is not restored, nor is any after the firewall is closed", async () => {
    const m = machine(["nft"]);
    const firewall = await startFirewall(m);
    await firewall.apply(table);
    await firewall.remove("t");
    m.notify(foreign);
    await firewall.close();
    m.notify(foreign);
    expect(m.inputs).toHaveLength(2);
    expect(m.inputs[1]).toBe("table ip warren_t\ndelete table ip warren_t\n");
  });

  test("that is refused rejects with the program's own output", async () => {
    const m = machine(["nft"]);
    await using firewall = await startFirewall(m);
    m.failures.push("syntax error");
    await expect(firewall.apply(table)).rejects.toMatchObject({
      failure: { code: "FIREWALL_RULES_FAILED", program: "nft", output: "syntax error" },
    });
  });
});

describe("a program", () => {
  test("gets its input and resolves with its output and exit code", async () => {
    expect(await runProgram("sh", ["-c", "cat; echo no >&2; exit 3"], "in")).toEqual({
      code: 3,
      stdout: "in",
      stderr: "no\n",
    });
  });

  test("that ends before it reads a long input resolves with its exit code", async () => {
    expect(await runProgram("sh", ["-c", "exit 4"], "x".repeat(1 << 20))).toMatchObject({ code: 4 });
  });

  test("that is not installed rejects with ENOENT", async () => {
    await expect(runProgram("warren-no-such-program", [])).rejects.toMatchObject({ code: "ENOENT" });
  });
});
