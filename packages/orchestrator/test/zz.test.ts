import * as fc from "fast-check";
import { test } from "vitest";
import { writeSync } from "node:fs";
import { always, calm, checkEnd, nodes, perform, taken, troubles, watchSlots } from "./histories.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";
test("sample", { timeout: 400_000 }, async () => {
  const from = Number(process.env["FROM"] ?? 0), count = Number(process.env["COUNT"] ?? 20);
  const t0 = Date.now();
  for (let seed = from; seed < from + count; seed++) {
    const [[ops, lives]] = fc.sample(fc.tuple(fc.array(fc.oneof(...always, ...troubles), { maxLength: 40, size: "max" }), fc.constantFrom(1, 2, 7, Infinity)), { seed, numRuns: 1 }) as any;
    const t = Date.now();
    const log: string[] = [];
    const world = await SimulatedCluster.start(nodes.length, { seed });
    try {
      world.writesOfALife = lives;
      await world.restart();
      const ever = new Set<string>();
      watchSlots(world, ever);
      for (const op of ops) {
        log.push(JSON.stringify(op));
        if (process.env["V"]) writeSync(1, JSON.stringify(op) + "\n");
        if (op.do === "off" || op.do === "cut") ever.add(op.node);
        await taken(() => perform(world, op));
      }
      if (process.env["V"]) writeSync(1, "calm\n");
      await calm(world);
      checkEnd(world);
      await world.stopLeading();
    } catch (error) {
      writeSync(1, `seed ${seed} lives ${lives} FAILED ${(error as Error).stack?.split("\n").slice(0, 12).join("\n")}\n${log.join("\n")}\n`);
      for (const s of world.view.list("slots")) writeSync(1, JSON.stringify([s.meta!.id, s.wanted, s.settled, s.retryAt, s.leases.map((l) => [l.state, l.nodeId, l.versionId, l.since, l.cause, l.after, l.epoch])]) + "\n");
      for (const s of world.view.list("services")) writeSync(1, JSON.stringify([s.meta!.id, s.versionId, s.updateStatus]) + "\n");
      for (const t of world.view.list("tasks")) writeSync(1, JSON.stringify([t.slotId, t.nodeId, t.versionId, t.run, t.life, t.epoch?.index, t.status!.state, t.status!.message]) + "\n");
      throw error;
    }
    if (Date.now() - t > 3000) writeSync(1, `seed ${seed} took ${Date.now() - t}\n`);
  }
  writeSync(1, `done ${Date.now() - t0} ms\n`);
});
