import type { NodeImage } from "@warren/api";
import { parseReference, RuntimeError, type Image } from "@warren/runtime";
import { servicesThat, type Relay, type RelayDependencies } from "./relay.ts";

/** Sends the node's images. */
export async function relayImages(dependencies: RelayDependencies, relay: Relay): Promise<void> {
  await send(relay, await described(dependencies, await dependencies.runtime.images()));
}

/** Removes what no task uses, and sends what that was. */
export async function relayPruneImages(dependencies: RelayDependencies, relay: Relay): Promise<void> {
  // Their sizes are known only as long as they are here.
  const before = await described(dependencies, await dependencies.runtime.images());
  const removed = new Set((await dependencies.images.prune()).map(({ ref }) => ref));
  await send(
    relay,
    before.filter(({ ref }) => removed.has(ref)),
  );
}

function send(relay: Relay, images: NodeImage[]): Promise<void> {
  return relay.send({ $case: "images", value: { images, unreachableNodes: [] } });
}

async function described(
  { runtime, inUse, nodeId }: RelayDependencies,
  images: readonly Image[],
): Promise<NodeImage[]> {
  const used = [...inUse()];
  const found: NodeImage[] = [];
  for (const { ref, digest } of images) {
    const sizeBytes = await sizeOf(runtime, ref);
    if (sizeBytes === undefined) continue;
    const services = servicesThat(used, ({ imageDigest, task }) =>
      imageDigest === "" ? isOf(task?.container?.image ?? "", ref) : imageDigest === digest,
    );
    found.push({ nodeId, ref, digest, sizeBytes, services });
  }
  return found;
}

/** Undefined where it went meanwhile. */
async function sizeOf(runtime: RelayDependencies["runtime"], ref: string): Promise<number | undefined> {
  try {
    return (await runtime.inspectImage(ref)).sizeBytes;
  } catch (error) {
    if (RuntimeError.is(error, "RUNTIME_IMAGE_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** Whether an image as a spec names it is the one of a canonical reference. */
function isOf(image: string, ref: string): boolean {
  try {
    return parseReference(image).full === ref;
  } catch (error) {
    if (RuntimeError.is(error, "RUNTIME_REFERENCE_INVALID")) return false;
    throw error;
  }
}
