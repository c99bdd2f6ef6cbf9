import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPrismrecError, type PrismrecError } from "../../base/errors.js";
import type { Matrix } from "../../base/matrix.js";
import { createRandom } from "../../base/random.js";
import { native } from "../native.js";
import { contrastiveLoss, contrastiveLossSync } from "./contrastive-loss.js";
import type { ContrastiveLossInput, InfoNceInput, SupervisedContrastiveInput } from "./types.js";

const variants = native() === undefined ? ["typescript"] : ["typescript", "reference", "scalar", undefined];

function matrix(rows: number, cols: number, values: readonly number[]): Matrix {
  return { data: Float32Array.from(values), rows, cols };
}

function randomMatrix(rows: number, cols: number, seed: number): Matrix {
  const random = createRandom(seed);
  return { data: Float32Array.from({ length: rows * cols }, () => random.normal()), rows, cols };
}

function randomIds(count: number, below: number, seed: number): number[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => random.integer(0, below));
}

/** Pairs with everything: shared negatives, logQ, repeated ids. */
function pairs(n: number, dim: number, extra: Partial<InfoNceInput> = {}, seed = 1): InfoNceInput {
  const m = 4;
  return {
    kind: "info-nce",
    similarity: "cosine",
    temperature: 0.3,
    queries: randomMatrix(n, dim, seed),
    positives: randomMatrix(n, dim, seed + 1),
    negatives: randomMatrix(m, dim, seed + 2),
    logQ: randomMatrix(n + m, 1, seed + 3).data,
    positiveIds: Uint32Array.from(randomIds(n, n, seed + 4)),
    negativeIds: Uint32Array.from(randomIds(m, n, seed + 5)),
    ...extra,
  };
}

/** Three groups in no order, three labels and unlabelled rows, repeated items. */
function labelled(n: number, dim: number, extra: Partial<SupervisedContrastiveInput> = {}, seed = 1) {
  return {
    kind: "supervised",
    similarity: "cosine",
    temperature: 0.3,
    rows: randomMatrix(n, dim, seed),
    groups: Int32Array.from(randomIds(n, 3, seed + 1), (group) => group * 7 - 5),
    labels: Int32Array.from(randomIds(n, 4, seed + 2), (label) => label - 1),
    itemIds: Uint32Array.from(randomIds(n, n, seed + 3)),
    scope: "group",
    ...extra,
  } satisfies SupervisedContrastiveInput;
}

function expectClose(got: Float32Array | undefined, want: Float32Array | undefined): void {
  expect(got?.length).toBe(want?.length);
  const scale = want?.reduce((a, b) => Math.max(a, Math.abs(b)), 0) ?? 0;
  got?.forEach((value, i) => {
    expect(Math.abs(value - want![i]!)).toBeLessThanOrEqual(1e-5 * scale + 1e-6);
  });
}

function gradientsOf(input: ContrastiveLossInput): Record<string, Float32Array> {
  return { ...contrastiveLossSync(input).gradients } as Record<string, Float32Array>;
}

function caught(input: ContrastiveLossInput): PrismrecError {
  try {
    contrastiveLossSync(input);
  } catch (error) {
    if (isPrismrecError(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe.each(variants)("contrastive loss, variant %s", (variant) => {
  const chosen = variant === undefined ? {} : { variant };

  it.each(["query-to-positive", "symmetric"] as const)("gives orthogonal pairs log(1 + 1/e) (%s)", (direction) => {
    const rows = matrix(2, 2, [2, 0, 0, 3]);
    const { loss, countedRows } = contrastiveLossSync({
      kind: "info-nce",
      similarity: "cosine",
      temperature: 1,
      queries: rows,
      positives: rows,
      direction,
      ...chosen,
    });
    expect(loss).toBeCloseTo(Math.log(1 + 1 / Math.E), 6);
    expect(countedRows).toBe(2);
  });

  it("takes logQ off the candidates and counts explicit negatives", () => {
    // Logits 1 (positive) and 2 - log 2 (negative); the second query has only its twin.
    const { rowLosses } = contrastiveLossSync({
      kind: "info-nce",
      similarity: "dot",
      temperature: 1,
      queries: matrix(1, 1, [1]),
      positives: matrix(1, 1, [1]),
      negatives: matrix(1, 1, [2]),
      logQ: Float32Array.of(0, Math.log(2)),
      ...chosen,
    });
    expect(rowLosses[0]).toBeCloseTo(Math.log(Math.E + Math.E ** 2 / 2) - 1, 6);
  });

  it("does not hold another row's copy of the positive against a query", () => {
    const rows = matrix(3, 1, [1, 1, 0]);
    const base = { kind: "info-nce", similarity: "dot", temperature: 1, queries: rows, positives: rows } as const;
    const ids = contrastiveLossSync({ ...base, positiveIds: Uint32Array.of(8, 8, 9), ...chosen });
    // Row 0 against candidate 2 alone: log(1 + 1/e); without ids its twin would stand beside it.
    expect(ids.rowLosses[0]).toBeCloseTo(Math.log(1 + 1 / Math.E), 6);
    expect(contrastiveLossSync({ ...base, ...chosen }).rowLosses[0]).toBeCloseTo(Math.log(2 + 1 / Math.E), 6);
  });

  it("contrasts labels inside a group and skips rows that have no positive", () => {
    // Group 1: rows 0, 2 share a label, row 3 has none. Group 2: row 1 alone.
    const { loss, rowLosses, countedRows, gradients } = contrastiveLossSync({
      kind: "supervised",
      similarity: "cosine",
      temperature: 1,
      rows: matrix(4, 2, [1, 0, 5, 5, 1, 0, 0, 2]),
      groups: Int32Array.of(1, 2, 1, 1),
      labels: Int32Array.of(4, 4, 4, -1),
      scope: "group",
      ...chosen,
    });
    // Candidates of row 0: row 2 (cosine 1, its positive) and row 3 (cosine 0).
    expect(rowLosses[0]).toBeCloseTo(Math.log(1 + 1 / Math.E), 6);
    expect(rowLosses[2]).toBeCloseTo(rowLosses[0]!, 6);
    expect([rowLosses[1], rowLosses[3]]).toEqual([0, 0]);
    expect(countedRows).toBe(2);
    expect(loss).toBeCloseTo(rowLosses[0]!, 6);
    expect(gradients.rows[2]).toBeCloseTo(0, 12);
    expect(gradients.rows[3]).toBeCloseTo(0, 12);
  });

  it("leaves copies of a row's item out of its candidates in batch scope, unless they are its positives", () => {
    const base = {
      kind: "supervised",
      similarity: "dot",
      temperature: 1,
      rows: matrix(4, 1, [1, 1, 1, 0]),
      groups: Int32Array.of(1, 1, 2, 2),
      labels: Int32Array.of(0, 0, 0, 0),
      scope: "batch",
    } as const;
    const ids = contrastiveLossSync({ ...base, itemIds: Uint32Array.of(5, 5, 5, 6), ...chosen });
    // Row 0: positive row 1 (1), row 2 is a copy of its item in another group, row 3 (0).
    expect(ids.rowLosses[0]).toBeCloseTo(Math.log(1 + 1 / Math.E), 6);
    expect(contrastiveLossSync({ ...base, ...chosen }).rowLosses[0]).toBeCloseTo(Math.log(2 + 1 / Math.E), 6);
  });

  it("sums rows where it does not average them", () => {
    const mean = contrastiveLossSync({ ...pairs(6, 3), ...chosen });
    for (const reduction of ["sum", "none"] as const) {
      const sum = contrastiveLossSync({ ...pairs(6, 3), reduction, ...chosen });
      expect(sum.loss).toBeCloseTo(6 * mean.loss, 4);
      expect(sum.rowLosses).toEqual(mean.rowLosses);
      expectClose(
        sum.gradients.queries,
        mean.gradients.queries.map((value) => value * 6),
      );
    }
  });

  it("gives a row of length 0 cosine 0 and no gradient", () => {
    const { rowLosses, gradients } = contrastiveLossSync({
      kind: "info-nce",
      similarity: "cosine",
      temperature: 1,
      queries: matrix(2, 2, [0, 0, 0, 1]),
      positives: matrix(2, 2, [1, 0, 0, 1]),
      ...chosen,
    });
    expect(rowLosses[0]).toBeCloseTo(Math.LN2, 6);
    expect(gradients.queries[0]).toBeCloseTo(0, 12);
    expect(gradients.queries[1]).toBeCloseTo(0, 12);
  });

  it.each(["cosine", "dot"] as const)("agrees with the definition on pairs and on groups (%s)", (similarity) => {
    for (const [n, dim] of [
      [1, 1],
      [7, 3],
      [70, 17],
    ] as const) {
      const inputs: ContrastiveLossInput[] = [
        pairs(n, dim, { similarity }),
        pairs(n, dim, { similarity, direction: "symmetric" }),
        labelled(n, dim, { similarity }),
        labelled(n, dim, { similarity, scope: "batch" }),
      ];
      for (const input of inputs) {
        const want = contrastiveLossSync({ ...input, variant: "typescript" });
        const got = contrastiveLossSync({ ...input, ...chosen });
        expect(got.loss).toBeCloseTo(want.loss, 5);
        expect(got.countedRows).toBe(want.countedRows);
        expectClose(got.rowLosses, want.rowLosses);
        const [wanted, gotten] = [
          gradientsOf({ ...input, variant: "typescript" }),
          gradientsOf({ ...input, ...chosen }),
        ];
        expect(Object.keys(gotten)).toEqual(Object.keys(wanted));
        for (const name of Object.keys(wanted)) expectClose(gotten[name], wanted[name]);
      }
    }
  });

  it("follows a permutation of the rows", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.constantFrom("group", "batch"), (seed, scope) => {
        const input = labelled(12, 3, { scope }, seed);
        const order = createRandom(seed).shuffle(Int32Array.from({ length: 12 }, (_, i) => i));
        const take = <T extends Int32Array | Uint32Array>(values: T): T =>
          values.map((_, i) => values[order[i]!]!) as T;
        const moved: SupervisedContrastiveInput = {
          ...input,
          rows: {
            ...input.rows,
            data: input.rows.data.map((_, i) => input.rows.data[order[Math.floor(i / 3)]! * 3 + (i % 3)]!),
          },
          groups: take(input.groups),
          labels: take(input.labels),
          itemIds: take(input.itemIds),
        };
        const [plain, shuffled] = [
          contrastiveLossSync({ ...input, ...chosen }),
          contrastiveLossSync({ ...moved, ...chosen }),
        ];
        expect(shuffled.loss).toBeCloseTo(plain.loss, 5);
        expectClose(
          shuffled.rowLosses,
          plain.rowLosses.map((_, i) => plain.rowLosses[order[i]!]!),
        );
      }),
      { numRuns: 20 },
    );
  });

  it("never falls when a negative is added", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const { logQ: _, negativeIds: __, ...input } = pairs(6, 3, {}, seed);
        const { negatives: ___, ...fewer } = input;
        expect(contrastiveLossSync({ ...input, ...chosen }).loss).toBeGreaterThanOrEqual(
          contrastiveLossSync({ ...fewer, ...chosen }).loss - 1e-6,
        );
      }),
      { numRuns: 20 },
    );
  });

  it("does not change with the length of rows under cosine, so gradients are at right angles to rows", () => {
    const input = labelled(9, 4);
    const { gradients } = contrastiveLossSync({ ...input, ...chosen });
    for (let i = 0; i < 9; i++) {
      let along = 0;
      for (let k = i * 4; k < i * 4 + 4; k++) along += gradients.rows[k]! * input.rows.data[k]!;
      expect(along).toBeCloseTo(0, 5);
    }
  });

  it("gives the value alone when gradients are not wanted", () => {
    for (const input of [pairs(6, 3), labelled(9, 3)]) {
      const value = contrastiveLossSync({ ...input, gradients: false, ...chosen });
      expect(value.gradients).toBeUndefined();
      expect(value.loss).toBe(contrastiveLossSync({ ...input, ...chosen }).loss);
    }
  });

  it("gives the same bits as a promise", async () => {
    expect(await contrastiveLoss({ ...pairs(40, 8), ...chosen })).toEqual(
      contrastiveLossSync({ ...pairs(40, 8), ...chosen }),
    );
    expect(await contrastiveLoss({ ...labelled(40, 8), ...chosen })).toEqual(
      contrastiveLossSync({ ...labelled(40, 8), ...chosen }),
    );
  });

  it("rejects with the reason of an aborted signal", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const pending = contrastiveLoss({ ...pairs(40, 8), ...chosen }, { signal: controller.signal });
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
    await expect(contrastiveLoss({ ...labelled(9, 3), ...chosen }, { signal: controller.signal })).rejects.toBe(reason);
  });

  it("names what is not finite", () => {
    const bad = matrix(2, 1, [Number.NaN, 1]);
    const good = matrix(2, 1, [1, 2]);
    for (const similarity of ["cosine", "dot"] as const) {
      const base = { kind: "info-nce", similarity, temperature: 1, ...chosen } as const;
      expect(caught({ ...base, queries: bad, positives: good }).code).toBe("NON_FINITE");
      expect(caught({ ...base, queries: good, positives: bad }).code).toBe("NON_FINITE");
    }
  });
});

describe("the definition's gradients", () => {
  // Central differences of the reference's own loss, which is in double precision.
  it.each(["cosine", "dot"] as const)("are the slopes of its loss (%s)", (similarity) => {
    const inputs: ContrastiveLossInput[] = [
      pairs(5, 3, { similarity, direction: "symmetric" }),
      labelled(9, 3, { similarity }),
      labelled(9, 3, { similarity, scope: "batch" }),
    ];
    for (const input of inputs) {
      const gradients = gradientsOf({ ...input, variant: "typescript" });
      const data: Record<string, Float32Array> =
        input.kind === "supervised"
          ? { rows: input.rows.data }
          : { queries: input.queries.data, positives: input.positives.data, negatives: input.negatives!.data };
      for (const [name, values] of Object.entries(data)) {
        for (let i = 0; i < values.length; i++) {
          const kept = values[i]!;
          const at = (x: number): [number, number] => {
            values[i] = x;
            return [values[i]!, contrastiveLossSync({ ...input, variant: "typescript", gradients: false }).loss];
          };
          const [above, high] = at(kept + 1 / 8192);
          const [below, low] = at(kept - 1 / 8192);
          values[i] = kept;
          expect(gradients[name]![i]).toBeCloseTo((high - low) / (above - below), 4);
        }
      }
    }
  });
});

describe("bad arguments of the contrastive loss", () => {
  const good = pairs(5, 3);
  const groups = labelled(5, 3);
  const { positiveIds: _, ...withoutIds } = good;
  it.each<[string, string, ContrastiveLossInput]>([
    ["temperature", "INVALID_ARGUMENT", { ...good, temperature: 0 }],
    ["temperature", "INVALID_ARGUMENT", { ...good, temperature: Number.NaN }],
    ["queries.data", "SHAPE_MISMATCH", { ...good, queries: { ...good.queries, rows: 4 } }],
    ["positives", "SHAPE_MISMATCH", { ...good, positives: randomMatrix(5, 2, 1) }],
    ["negatives", "SHAPE_MISMATCH", { ...good, negatives: randomMatrix(4, 2, 1) }],
    ["no columns", "SHAPE_MISMATCH", { ...groups, rows: matrix(5, 0, []) }],
    ["logQ", "SHAPE_MISMATCH", { ...good, logQ: new Float32Array(5) }],
    ["positiveIds", "SHAPE_MISMATCH", { ...good, positiveIds: new Uint32Array(4) }],
    ["negativeIds", "SHAPE_MISMATCH", { ...good, negativeIds: new Uint32Array(5) }],
    ["negativeIds without positiveIds", "INVALID_ARGUMENT", withoutIds],
    ["groups", "SHAPE_MISMATCH", { ...groups, groups: new Int32Array(4) }],
    ["labels", "SHAPE_MISMATCH", { ...groups, labels: new Int32Array(6) }],
    ["labels[2]", "INVALID_ARGUMENT", { ...groups, labels: Int32Array.of(0, -1, -2, 0, 0) }],
    ["itemIds", "SHAPE_MISMATCH", { ...groups, itemIds: new Uint32Array(1) }],
  ])("are named: %s", (message, code, input) => {
    const error = caught(input);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.expected).toBeTruthy();
    expect(error.received).toBeTruthy();
  });
});
