import { describe, expect, it } from "vitest";
import { parseOptions, UsageError } from "./args.js";

const KNOWN = ["gemm", "contrastive-loss", "max-cover"];

describe("parseOptions", () => {
  it("runs operations in the suite's order, and all of them by one word", () => {
    expect(parseOptions(["max-cover", "gemm", "--quick"], KNOWN)).toMatchObject({
      ops: ["gemm", "max-cover"],
      quick: true,
    });
    expect(parseOptions(["all", "--json"], KNOWN)).toMatchObject({ ops: KNOWN, json: true });
  });

  it("says what a misspelt operation or option was meant to be", () => {
    expect(() => parseOptions(["contrastive-los"], KNOWN)).toThrow('Did you mean "contrastive-loss"?');
    expect(() => parseOptions(["gemm", "--quik"], KNOWN)).toThrow('Did you mean "--quick"?');
    expect(() => parseOptions(["xyzzy"], KNOWN)).toThrow("Known: gemm");
  });

  it("wants an operation, and the table alone", () => {
    expect(() => parseOptions([], KNOWN)).toThrow(UsageError);
    expect(() => parseOptions(["gemm", "table"], KNOWN)).toThrow(UsageError);
    expect(() => parseOptions(["gemm", "--only"], KNOWN)).toThrow(UsageError);
    expect(parseOptions(["--help"], KNOWN).help).toBe(true);
    expect(parseOptions(["table"], KNOWN)).toMatchObject({ table: true, ops: [] });
  });
});
