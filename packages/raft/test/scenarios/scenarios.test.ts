import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { runTranscript } from "./runner/run.ts";
import { parseTranscript, rewriteTranscript } from "./runner/transcript.ts";

const files = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".txt"),
);

describe("transcripts", () => {
  test.each(files.sort())("%s is what the core does", (file) => {
    expect(runTranscript(readFileSync(join(import.meta.dirname, file), "utf8"))).toBeUndefined();
  });

  test("there are at least 41 of them", () => {
    expect(files.length).toBeGreaterThanOrEqual(41);
  });
});

describe("the runner", () => {
  const transcript =
    "# a comment\nvote cfg=(1, 2) \\\n  votes=(y,_)\n----\nVotePending\n\nvote cfg=(1) votes=(n)\n----\nVoteLost\n";

  test("a transcript that differs is reported with its line, the expected output and the actual one", () => {
    expect(runTranscript(transcript)).toBeUndefined();
    expect(runTranscript(transcript.replace("VoteLost", "VoteWon"))).toEqual({
      line: 7,
      command: "vote",
      expected: "VoteWon",
      actual: "VoteLost",
    });
  });

  test("the logger's lines are not compared, and only they", () => {
    const campaign = "add-nodes 1 voters=(1) index=2\n----\nINFO whatever it says\n\ncampaign 1\n----\nok\n";
    expect(runTranscript(campaign)).toBeUndefined();
    expect(runTranscript(campaign.replace("INFO whatever", "whatever"))?.line).toBe(1);
  });

  test("a file without commands fails", () => {
    expect(runTranscript("# nothing\n")).toBeDefined();
  });

  test("rewriting replaces outputs and nothing else, with doubled separators around blank lines", () => {
    const [first, second] = parseTranscript(transcript);
    const rewritten = rewriteTranscript(
      transcript,
      new Map([
        [first!, "a\n\nb"],
        [second!, "c"],
      ]),
    );
    expect(rewritten).toContain("votes=(y,_)\n----\n----\na\n\nb\n----\n----\n\nvote");
    expect(parseTranscript(rewritten).map(({ expected }) => expected)).toEqual(["a\n\nb", "c"]);
  });
});
