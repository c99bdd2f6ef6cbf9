import { yieldToEventLoop } from "../../base/abort.js";
import { checkCsr, checkLength } from "../../base/check-matrix.js";
import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import { variantFor } from "../device.js";
import { callNative, native, runNative } from "../native.js";
import {
  attainableUnits,
  type CoverInput,
  type CoverOutput,
  maxCoverReference,
  WEIGHT_UNIT,
  weightUnits,
} from "./reference.js";
import type { MaxCoverOptions, MaxCoverProblem, MaxCoverSolution } from "./types.js";

const MAX_REPEATS = 65535;
/** Beyond this, sums of units of 2^-16 are no longer exact in float64. */
const MAX_TOTAL = 2 ** 53 / WEIGHT_UNIT;

/**
 * Greedy weighted r-cover: selects sets that maximise sum_i w_i min(r, times i is covered) under a cardinality budget,
 * a cost budget or both. Deterministic: ties go to the lowest set number, whatever the number of threads.
 *
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT (an element twice in a set, a negative weight, a cost <= 0),
 *   NON_FINITE, OUT_OF_MEMORY. An aborted signal rejects with its reason.
 */
export async function maxCover(
  problem: MaxCoverProblem,
  options: MaxCoverOptions = {},
  run: RunOptions = {},
): Promise<MaxCoverSolution> {
  const input = checkedInput(problem, options);
  const variant = variantFor(options);
  const binding = variant === "typescript" ? undefined : native();
  if (binding === undefined) {
    await yieldToEventLoop(run.signal);
    return solution(standIn(input));
  }
  return solution(
    await runNative(run.signal, (cancel) =>
      binding.maxCover({ ...nativeArguments(input, variant), ...(cancel === undefined ? {} : { cancel }) }),
    ),
  );
}

/** `maxCover` on the calling thread, for worker threads. */
export function maxCoverSync(problem: MaxCoverProblem, options: MaxCoverOptions = {}): MaxCoverSolution {
  const input = checkedInput(problem, options);
  const variant = variantFor(options);
  const binding = variant === "typescript" ? undefined : native();
  if (binding === undefined) return solution(standIn(input));
  return callNative(() => {
    return solution(binding.maxCoverSync(nativeArguments(input, variant)));
  });
}

function solution(output: CoverOutput): MaxCoverSolution {
  return { ...output, coverage: output.attainable === 0 ? 1 : output.value / output.attainable };
}

function nativeArguments(input: CoverInput, variant: string | undefined) {
  const { sets, weights, costs, maxCost, ...scalars } = input;
  return {
    ...scalars,
    ...(maxCost === Number.POSITIVE_INFINITY ? {} : { maxCost }),
    indptr: sets.indptr,
    indices: sets.indices,
    elementCount: sets.cols,
    ...(weights === undefined ? {} : { weights }),
    ...(costs === undefined ? {} : { costs }),
    ...(variant === undefined ? {} : { variant }),
  };
}

/** Checks what takes no time and fills in the defaults; the addon checks every entry itself, in parallel. */
function checkedInput({ sets, weights, costs }: MaxCoverProblem, options: MaxCoverOptions): CoverInput {
  const { maxSets = sets.rows, maxCost = Number.POSITIVE_INFINITY, repeats = 1, minGain = 0 } = options;
  const { solver = "exact", sampleLoss = 0.1, seed = 0 } = options;
  checkLength("sets.indptr", sets.indptr.length, sets.rows + 1);
  checkInteger("maxSets", maxSets, 0, 0xffffffff);
  checkInteger("repeats", repeats, 1, MAX_REPEATS);
  checkInteger("seed", seed, 0, 0xffffffff);
  if (!(maxCost >= 0)) throw invalid("maxCost must not be negative", "0 to Infinity", maxCost);
  if (!(minGain >= 0 && minGain <= MAX_TOTAL)) throw invalid("minGain must be a finite number >= 0", ">= 0", minGain);
  if (!(sampleLoss > 0 && sampleLoss < 1)) throw invalid("sampleLoss must be between 0 and 1", "0 to 1", sampleLoss);
  if (solver !== "exact" && solver !== "lazy" && solver !== "stochastic") {
    throw invalid("unknown solver", '"exact", "lazy" or "stochastic"', solver);
  }
  if (weights !== undefined) checkLength("weights", weights.length, sets.cols);
  if (costs !== undefined) checkLength("costs", costs.length, sets.rows);
  else if (maxCost !== Number.POSITIVE_INFINITY) throw invalid("maxCost needs a cost for each set", "costs", "none");
  return { sets, weights, costs, maxSets, maxCost, repeats, minGain, solver, sampleLoss, seed };
}

/** The stand-in for the addon, with the addon's checks. */
function standIn(input: CoverInput): CoverOutput {
  const { sets, weights, costs, repeats } = input;
  checkCsr("sets", sets, sets.rows, sets.cols);
  if (weights !== undefined) checkNumbers("weights", weights, (weight) => weight >= 0, ">= 0");
  if (costs !== undefined) checkNumbers("costs", costs, (cost) => cost > 0, "> 0");
  checkDistinct(sets.indptr, sets.indices, sets.cols);
  const total = attainableUnits(sets, weightUnits(weights, sets.cols), repeats) / WEIGHT_UNIT;
  if (total > MAX_TOTAL) {
    throw new PrismrecError("INVALID_ARGUMENT", "the weights are too large for exact gains", {
      expected: `all sets together worth at most 2^37 (${MAX_TOTAL})`,
      received: String(total),
      hint: "Divide the weights by a constant.",
    });
  }
  return maxCoverReference(input);
}

function checkDistinct(indptr: Uint32Array, indices: Uint32Array, elements: number): void {
  const seenIn = new Uint32Array(elements);
  for (let s = 0; s + 1 < indptr.length; s++) {
    for (let e = indptr[s]!; e < indptr[s + 1]!; e++) {
      if (seenIn[indices[e]!] === s + 1) {
        throw invalid(`set ${s} holds an element twice`, "distinct elements in a set", indices[e]);
      }
      seenIn[indices[e]!] = s + 1;
    }
  }
}

function checkNumbers(name: string, values: Float32Array, valid: (value: number) => boolean, expected: string): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) {
      throw new PrismrecError("NON_FINITE", `${name}[${i}] is not finite`, {
        expected: "finite numbers",
        received: String(value),
      });
    }
    if (!valid(value)) throw invalid(`${name}[${i}] is out of range`, expected, value);
  }
}

function checkInteger(name: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw invalid(`${name} must be a whole number`, `${low} to ${high}`, value);
}

function invalid(message: string, expected: string, received: unknown): PrismrecError {
  return new PrismrecError("INVALID_ARGUMENT", message, { expected, received: String(received) });
}
