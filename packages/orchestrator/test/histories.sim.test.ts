import * as fc from "fast-check";
import { test } from "vitest";
import { always, calm, checkEnd, nodes, perform, taken, troubles, watchSlots } from "./histories.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

test("in a thousand histories with cut links, reboots and managers that die, L1, L2 and L8 hold throughout and the end is what was asked for", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(...always, ...troubles), { maxLength: 60, size: "max" }),
      fc.constantFrom(1, 2, 7, Number.POSITIVE_INFINITY),
      fc.nat(),
      async (operations, writesOfALife, seed) => {
        const world = await SimulatedCluster.start(nodes.length, { seed });
        world.writesOfALife = writesOfALife;
        await world.restart();
        const everDown = new Set<string>();
        watchSlots(world, everDown);
        for (const operation of operations) {
          if (["off", "cut", "hang"].includes(operation.do) && "node" in operation) everDown.add(operation.node);
          await taken(() => perform(world, operation));
        }
        await calm(world);
        checkEnd(world);
        await world.stopLeading();
      },
    ),
    { numRuns: 1_000 },
  );
});
