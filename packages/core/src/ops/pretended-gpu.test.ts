import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { contrastiveLossSync } from "./contrastive-loss/contrastive-loss.js";
import { chooseDevice, cudaInfo } from "./device.js";
import { dynamicRoutingGradientSync, dynamicRoutingSync } from "./dynamic-routing/dynamic-routing.js";
import { maxCoverSync } from "./max-cover/max-cover.js";
import { native } from "./native.js";
import { ExactIndex } from "./similarity-search/exact-index.js";
import { softmaxLossSync } from "./softmax-loss/softmax-loss.js";

// Built with the native tests: the CUDA library on the GPU that they pretend.
const library = fileURLToPath(new URL("../../../../native/build/test/prismrec_cuda_host.so", import.meta.url));
const there = native() !== undefined && existsSync(library);
if (!there) process.stderr.write("skipped: the pretended GPU is not built; npm run test:cuda-host builds it\n");

/** The same numbers on every run, in [-.5, .5). */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

function expectClose(actual: Float32Array, wanted: Float32Array): void {
  expect(actual.length).toBe(wanted.length);
  const largest = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-6);
  let worst = 0;
  for (let i = 0; i < wanted.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - wanted[i]!));
  expect(worst / largest).toBeLessThan(1e-5);
}

const cuda = { device: "cuda" } as const;

describe.skipIf(!there)("on a GPU, as far as one can pretend", () => {
  beforeAll(() => {
    process.env.PRISMREC_CUDA_LIBRARY = library; // read when the first call opens it
  });

  it("takes the library that is named, and the device in it", () => {
    expect(cudaInfo()).toMatchObject({ usable: true, library, devices: [{ capability: 90 }] });
    expect(chooseDevice("auto")).toEqual({ device: "cuda" });
  });

  it("gives the contrastive loss and its gradients", () => {
    const matrix = (seed: number) => ({ data: numbers(70 * 12, seed), rows: 70, cols: 12 });
    const input = {
      kind: "info-nce",
      queries: matrix(1),
      positives: matrix(2),
      similarity: "cosine",
      temperature: 0.2,
    } as const;
    const [here, there] = [contrastiveLossSync(input), contrastiveLossSync({ ...input, ...cuda })];
    expect(there.loss).toBeCloseTo(here.loss, 5);
    expectClose(there.gradients.queries, here.gradients.queries);
    expectClose(there.gradients.positives, here.gradients.positives);
  });

  it("gives the softmax loss and its gradients", () => {
    const input = {
      interests: { data: numbers(20 * 3 * 8, 3), rows: 60, cols: 8 },
      interestsPerRow: 3,
      items: { data: numbers(90 * 8, 4), rows: 90, cols: 8 },
      targets: {
        indptr: Uint32Array.from({ length: 21 }, (_, r) => r),
        indices: Uint32Array.from({ length: 20 }, (_, r) => (r * 7) % 90),
        rows: 20,
        cols: 90,
      },
      readout: "log-sum-exp",
    } as const;
    const [here, there] = [softmaxLossSync(input), softmaxLossSync({ ...input, ...cuda })];
    expect(there.loss).toBeCloseTo(here.loss, 5);
    expectClose(there.gradients.interests, here.gradients.interests);
    expectClose(there.gradients.items, here.gradients.items);
  });

  it("searches an index, and again in the copy that the device keeps", () => {
    using index = ExactIndex.buildSync({ data: numbers(500 * 16, 5), rows: 500, cols: 16 });
    for (const seed of [6, 7]) {
      const query = { queries: { data: numbers(9 * 16, seed), rows: 9, cols: 16 }, k: 12 };
      const [here, there] = [index.searchSync(query), index.searchSync({ ...query, ...cuda })];
      expect(there.ids).toEqual(here.ids);
      expectClose(there.scores, here.scores);
    }
  });

  it("covers with the same picks", () => {
    const sets = {
      indptr: Uint32Array.from({ length: 61 }, (_, s) => s * 5),
      indices: Uint32Array.from({ length: 300 }, (_, i) => (Math.floor(i / 5) * 3 + (i % 5) * 41) % 200),
      rows: 60,
      cols: 200,
    };
    const problem = { sets, weights: numbers(200, 8).map((x) => x + 0.75) };
    expect(maxCoverSync(problem, { maxSets: 20, ...cuda })).toEqual(maxCoverSync(problem, { maxSets: 20 }));
  });

  it("routes, and back", () => {
    const [users, length, interests, dim] = [3, 6, 2, 8];
    const problem = {
      ...{ users, length, interests, dim, mapCount: 1, shared: true },
      lengths: Uint32Array.of(6, 0, 4),
      events: numbers(users * length * dim, 9),
      maps: numbers(dim * dim, 10),
    };
    const input = { ...problem, iterations: 3, initial: numbers(interests * length, 11) };
    const [here, there] = [dynamicRoutingSync(input), dynamicRoutingSync({ ...input, ...cuda })];
    expectClose(there.vectors, here.vectors);
    expectClose(there.coefficients, here.coefficients);
    const vectorGradient = numbers(users * interests * dim, 12);
    const back = { ...problem, coefficients: here.coefficients, sums: here.sums, vectorGradient };
    const [hereBack, thereBack] = [dynamicRoutingGradientSync(back), dynamicRoutingGradientSync({ ...back, ...cuda })];
    expectClose(thereBack.events, hereBack.events);
    expectClose(thereBack.maps, hereBack.maps);
  });
});
