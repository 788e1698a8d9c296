/**
 * Heap that a cluster of this size costs its store, bytes: run with --expose-gc; prints JSON.
 *
 * @example node --expose-gc --conditions=warren-source measure.ts 1000 10
 */
import { StoreStateMachine } from "../../src/index.ts";
import { populated } from "./population.ts";

const [services = 1_000, slotsPerService = 10] = process.argv.slice(2).map(Number);

async function collected(): Promise<number> {
  for (let n = 0; n < 5; n++) {
    await new Promise((resolve) => setImmediate(resolve));
    globalThis.gc?.();
  }
  return process.memoryUsage().heapUsed;
}

// Code and constants are loaded before the first measurement.
populated({ services: 5, slotsPerService: 2, nodes: 3 });
const before = await collected();
const machine = populated({ services, slotsPerService, nodes: 100 });
const applied = (await collected()) - before;
const copy = new StoreStateMachine();
const first = await collected();
await copy.restore(machine.snapshot());
const restored = (await collected()) - first;
const slots = machine.state.table("slots").size;
const tasks = copy.state.table("tasks").size;
process.stdout.write(JSON.stringify({ applied, restored, slots, tasks }));
