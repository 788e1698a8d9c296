import { expect, test } from "vitest";
import { parseReference, pinReference } from "../src/index.ts";

const digest = `sha256:${"ab".repeat(32)}`;

test.each([
  ["nginx", "latest", "docker.io/library/nginx:latest"],
  ["me/app:2", "2", "docker.io/me/app:2"],
  ["GHCR.io/a/b:V1", "V1", "ghcr.io/a/b:V1"],
  [`r.test/x@${digest}`, digest, `r.test/x@${digest}`],
  [`r.test/x:1@${digest}`, digest, `r.test/x:1@${digest}`],
])("%s is requested by its digest, tag or latest, and kept under its canonical name", (ref, selector, full) => {
  expect(parseReference(ref)).toMatchObject({ selector, full });
});

test("what is not a reference is refused, in a message of a few words however long the text is", () => {
  for (const ref of ["", "Upper", "x@sha256:12", "http://r.test/x", "x".repeat(100_000)]) {
    expect(() => parseReference(ref)).toThrow(expect.objectContaining({ code: "RUNTIME_REFERENCE_INVALID" }));
    expect(() => parseReference(ref)).toThrow(/^.{1,300}$/);
  }
});

test("a pinned reference has the digest, and keeps the tag for people", () => {
  expect(pinReference(parseReference("nginx:1.27"), digest)).toBe(`docker.io/library/nginx:1.27@${digest}`);
  expect(pinReference(parseReference(`r.test/x@sha256:${"00".repeat(32)}`), digest)).toBe(`r.test/x@${digest}`);
});
