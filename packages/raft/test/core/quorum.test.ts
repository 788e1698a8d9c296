import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { jointCommitted, jointVote, majorityCommitted, majorityVote } from "../../src/core/quorum.ts";

const voters = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 9 }).map((ids) => new Set(ids));
const acks = fc.dictionary(fc.integer({ min: 1, max: 9 }).map(String), fc.integer({ min: 0, max: 20 }));
const ballots = fc.dictionary(fc.integer({ min: 1, max: 9 }).map(String), fc.boolean());
const indexer = (known: Record<string, number>) => ({ ackedIndex: (id: number) => known[id] });
const votesOf = (known: Record<string, boolean>) =>
  new Map(Object.entries(known).map(([id, vote]) => [Number(id), vote]));

/** All majorities of a set, by brute force. */
function majorities(set: ReadonlySet<number>): number[][] {
  const subsets = [...set].reduce<number[][]>((all, id) => all.concat(all.map((subset) => [...subset, id])), [[]]);
  return subsets.filter((subset) => subset.length * 2 > set.size);
}

describe("a majority", () => {
  test("commits the highest index that some majority has, as found by trying them all", () => {
    fc.assert(
      fc.property(voters, acks, (set, known) => {
        const reached = majorities(set).map((subset) => Math.min(...subset.map((id) => known[id] ?? 0)));
        const expected = set.size === 0 ? Number.POSITIVE_INFINITY : Math.max(...reached);
        expect(majorityCommitted(set, indexer(known))).toBe(expected);
      }),
    );
  });

  test("has won when some majority said yes, and lost when none can any more", () => {
    fc.assert(
      fc.property(voters, ballots, (set, known) => {
        const all = majorities(set);
        const won = set.size === 0 || all.some((subset) => subset.every((id) => known[id] === true));
        const open = all.some((subset) => subset.every((id) => known[id] !== false));
        expect(majorityVote(set, votesOf(known))).toBe(won ? "VoteWon" : open ? "VotePending" : "VoteLost");
      }),
    );
  });
});

describe("a joint configuration", () => {
  test("commits what both halves commit, whichever way round, and like one half if the other is empty or equal", () => {
    fc.assert(
      fc.property(voters, voters, acks, (incoming, outgoing, known) => {
        const acked = indexer(known);
        const both = Math.min(majorityCommitted(incoming, acked), majorityCommitted(outgoing, acked));
        expect(jointCommitted({ incoming, outgoing }, acked)).toBe(both);
        expect(jointCommitted({ incoming: outgoing, outgoing: incoming }, acked)).toBe(both);
        const alone = majorityCommitted(incoming, acked);
        expect(jointCommitted({ incoming, outgoing: new Set() }, acked)).toBe(alone);
        expect(jointCommitted({ incoming, outgoing: incoming }, acked)).toBe(alone);
      }),
    );
  });

  test("is won only when both halves are, and lost as soon as one is", () => {
    fc.assert(
      fc.property(voters, voters, ballots, (incoming, outgoing, known) => {
        const votes = votesOf(known);
        const halves = [majorityVote(incoming, votes), majorityVote(outgoing, votes)];
        const expected = halves.includes("VoteLost")
          ? "VoteLost"
          : halves.includes("VotePending")
            ? "VotePending"
            : "VoteWon";
        expect(jointVote({ incoming, outgoing }, votes)).toBe(expected);
      }),
    );
  });
});
