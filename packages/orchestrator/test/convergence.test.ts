import * as fc from "fast-check";
import { expect, test } from "vitest";
import { always, calm, checkEnd, checkHistories, isCrowded, nodes, perform } from "./histories.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

test("whatever is asked for, fails and dies on the way, the end is what was asked for", { timeout: 120_000 }, () =>
  checkHistories({ mostOperations: 40, histories: 150 }),
);

test(
  "a manager that dies after each transaction leads to the same end as one that lives",
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(...always), { maxLength: 25, size: "max" }),
        fc.nat(),
        async (operations, seed) => {
          const ends = [];
          for (const writesOfALife of [Number.POSITIVE_INFINITY, 1]) {
            const world = await SimulatedCluster.start(nodes.length, { seed });
            world.writesOfALife = writesOfALife;
            await world.restart();
            for (const operation of operations) {
              await perform(world, operation);
              await world.settle();
            }
            await calm(world);
            checkEnd(world);
            ends.push(
              world.view.list("services").map((service) => {
                const { meta, spec, specVersion, updateStatus, endpoint } = service;
                const running = world.running(meta!.id).map((task) => world.image(task));
                return {
                  name: spec!.name,
                  spec,
                  specVersion,
                  update: updateStatus?.state,
                  ports: endpoint!.ports.length,
                  // Which slots those are depends on where tasks were put, which is chance between equal nodes.
                  running: isCrowded(service) ? undefined : running.toSorted(),
                };
              }),
            );
            await world.stopLeading();
          }
          expect(ends[1]).toEqual(ends[0]);
        },
      ),
      { numRuns: 60 },
    );
  },
);
