import { FakeClock } from "@warren/std/testing";
import { beforeEach, expect, test } from "vitest";

import { message, type Message } from "../../src/core/index.ts";
import { Outbox } from "../../src/node/outbox.ts";
import { MemoryNetwork } from "../../src/transport/index.ts";

let clock: FakeClock;
let sent: string[];
let outbox: Outbox;
beforeEach(() => {
  clock = new FakeClock();
  sent = [];
  const say = ({ type, to, commit, entries }: Message): void => {
    sent.push(`${type} to ${to}, ${entries.length} entries, commit ${commit}`);
  };
  outbox = new Outbox(
    Object.assign(new MemoryNetwork().transport(), { send: (messages: readonly Message[]) => messages.forEach(say) }),
    clock,
  );
});

const news = (to: number, commit: number): Message => message("MsgApp", { to, commit });
const append = (to: number, commit: number): Message =>
  message("MsgApp", { to, commit, entries: [{ term: 1, index: 1, type: "EntryNormal", data: new Uint8Array(0) }] });

test("news of a commit waits, and goes alone if nothing else does", () => {
  outbox.send([news(2, 7), news(3, 7)]);
  clock.advance(4);
  expect(sent).toEqual([]);
  clock.advance(1);
  expect(sent).toEqual(["MsgApp to 2, 0 entries, commit 7", "MsgApp to 3, 0 entries, commit 7"]);
  clock.advance(100);
  expect(sent).toHaveLength(2);
});

test("newer news and an append to the same peer take its place", () => {
  outbox.send([news(2, 7), news(3, 7)]);
  outbox.send([news(2, 8), append(3, 8)]);
  expect(sent).toEqual(["MsgApp to 3, 1 entries, commit 8"]);
  clock.advance(5);
  expect(sent.slice(1)).toEqual(["MsgApp to 2, 0 entries, commit 8"]);
});

test("any other message to the peer takes it along, and it arrives first", () => {
  outbox.send([news(2, 7), news(3, 7)]);
  outbox.send([message("MsgReadIndexResp", { to: 2 })]);
  expect(sent).toEqual(["MsgApp to 2, 0 entries, commit 7", "MsgReadIndexResp to 2, 0 entries, commit 0"]);
});

test("a peer that asked something for its clients of late hears at once", () => {
  outbox.heard(message("MsgProp", { from: 2 }));
  outbox.heard(message("MsgAppResp", { from: 3 }));
  outbox.send([news(2, 7), news(3, 7)]);
  expect(sent).toEqual(["MsgApp to 2, 0 entries, commit 7"]);
  clock.advance(1_001);
  sent.length = 0;
  outbox.send([news(2, 8)]);
  expect(sent).toEqual([]);
});

test("nothing is sent once it is closed", () => {
  outbox.send([news(2, 7)]);
  outbox.close();
  clock.advance(100);
  expect(sent).toEqual([]);
  expect(clock.pending).toBe(0);
});
