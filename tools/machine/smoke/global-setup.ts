/** One machine for all files of the smoke test, and the moment of it that most begin from. */
import { Machine, moments } from "../machine.ts";
import { prepareCluster } from "./cluster.ts";

/** The machine that was started here; one that ran before stays. */
let started: Machine | undefined;

export async function setup(): Promise<void> {
  const begin = performance.now();
  const log = (text: string): void => console.error(`[${Math.round((performance.now() - begin) / 1_000)} s] ${text}`);
  let machine = await Machine.find();
  if (machine === undefined) {
    started = machine = await Machine.start(log);
    log("booted");
  } else if ((await machine.isCurrent()) && (await machine.hasSaved(moments.cluster))) return;
  else await machine.renew();
  try {
    await prepareCluster(machine);
    await machine.save(moments.cluster);
    log("a cluster runs in it");
  } catch (error) {
    await started?.stop();
    throw error;
  }
}

export async function teardown(): Promise<void> {
  await started?.stop();
}
