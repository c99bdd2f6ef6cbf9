import type { DynamicRoutingProblem } from "@prismrec/native";
import { PrismrecError } from "../../base/errors.js";
import { checkLength } from "../check.js";
import { variantFor } from "../device.js";
import { callNative, native } from "../native.js";
import { dynamicRoutingGradientReference, dynamicRoutingReference } from "./reference.js";
import type {
  DynamicRoutingGradientInput,
  DynamicRoutingGradients,
  DynamicRoutingInput,
  DynamicRoutingOutput,
  RoutingProblem,
} from "./types.js";

/**
 * Behaviour-to-interest dynamic routing (Li et al. 2019, Cen et al. 2020) with its bilinear maps: each event predicts a
 * vector for each interest; each of `iterations` rounds shares every event out over the interests (softmax over K, not
 * over T), sums, squashes (Sabour, Frosst and Hinton 2017: length l becomes l^2 / (1 + l^2)), and adds the agreement to
 * the logits. The logits belong to one example and start anew in each call.
 *
 * @param allocate where the output's arrays come from; what they hold does not matter
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT, NON_FINITE where an interest is not finite
 */
export function dynamicRoutingSync(input: DynamicRoutingInput, allocate = newArray): DynamicRoutingOutput {
  checkProblem(input);
  checkLength("initial", input.initial.length, input.interests * input.length);
  checkCount("iterations", input.iterations);
  const variant = variantFor(input);
  const addon = variant === "typescript" ? undefined : native();
  if (addon === undefined) {
    checkRows(input);
    const output = dynamicRoutingReference(input);
    checkFinite("an interest", output.vectors);
    return output;
  }
  return callNative(() => {
    const { iterations, initial } = input;
    const interests = input.users * input.interests;
    const output = {
      vectors: allocate(interests * input.dim),
      sums: allocate(interests * input.dim),
      coefficients: allocate(interests * input.length),
    };
    addon.dynamicRoutingSync({ ...nativeProblem(input, variant), iterations, initial, ...output });
    return output;
  });
}

/**
 * Gradients of the interests with respect to events and maps, through the last sum alone: the coefficients are held
 * fixed. Interests without a gradient cost nothing.
 *
 * @param allocate as above
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT, NON_FINITE where the given gradient is not finite
 */
export function dynamicRoutingGradientSync(
  input: DynamicRoutingGradientInput,
  allocate = newArray,
): DynamicRoutingGradients {
  checkProblem(input);
  const { coefficients, sums, vectorGradient } = input;
  const interests = input.users * input.interests;
  checkLength("coefficients", coefficients.length, interests * input.length);
  checkLength("sums", sums.length, interests * input.dim);
  checkLength("vectorGradient", vectorGradient.length, interests * input.dim);
  const variant = variantFor(input);
  const addon = variant === "typescript" ? undefined : native();
  if (addon === undefined) {
    checkRows(input);
    checkFinite("a gradient", vectorGradient);
    return dynamicRoutingGradientReference(input);
  }
  return callNative(() => {
    const eventGradient = allocate(input.users * input.length * input.dim);
    const mapGradient = allocate(input.maps.length);
    const given = { coefficients, sums, vectorGradient };
    addon.dynamicRoutingGradSync({ ...nativeProblem(input, variant), ...given, eventGradient, mapGradient });
    return { events: eventGradient, maps: mapGradient };
  });
}

function newArray(length: number): Float32Array {
  return new Float32Array(length);
}

function nativeProblem(input: RoutingProblem, variant: string | undefined): DynamicRoutingProblem {
  const { users, length, interests, dim, lengths, events, rows, maps, mapCount, shared } = input;
  return { users, length, interests, dim, lengths, events, rows, maps, mapCount, shared, variant };
}

function checkProblem(problem: RoutingProblem): void {
  const { users, length, interests, dim, lengths, mapCount } = problem;
  checkCount("interests", interests);
  checkCount("dim", dim);
  checkCount("mapCount", mapCount);
  if (mapCount !== 1 && mapCount < length) {
    throw new PrismrecError("INVALID_ARGUMENT", "there must be one map or one for each position", {
      expected: `1, or at least ${length}`,
      received: String(mapCount),
    });
  }
  checkLength("lengths", lengths.length, users);
  if (problem.rows === undefined) checkLength("events", problem.events.length, users * length * dim);
  else checkLength("rows", problem.rows.length, users * length);
  checkLength("maps", problem.maps.length, mapCount * dim * (problem.shared ? dim : interests * dim));
  for (let b = 0; b < users; b++) {
    if (lengths[b]! <= length) continue;
    throw new PrismrecError("INVALID_ARGUMENT", `lengths[${b}] exceeds the batch's length`, {
      expected: `at most ${length}`,
      received: String(lengths[b]),
    });
  }
}

/** The addon does so itself. */
function checkRows({ users, length, lengths, dim, events, rows }: RoutingProblem): void {
  if (rows === undefined) return;
  const tableRows = Math.floor(events.length / dim);
  for (let b = 0; b < users; b++) {
    for (let i = b * length; i < b * length + lengths[b]!; i++) {
      if (rows[i]! < tableRows) continue;
      throw new PrismrecError("INVALID_ARGUMENT", "an event's row is outside the table", {
        expected: `below ${tableRows}`,
        received: String(rows[i]),
      });
    }
  }
}

function checkCount(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 1) return;
  throw new PrismrecError("INVALID_ARGUMENT", `${name} must be a positive whole number`, {
    expected: ">= 1",
    received: String(value),
  });
}

function checkFinite(what: string, values: Float32Array): void {
  if (values.every(Number.isFinite)) return;
  throw new PrismrecError("NON_FINITE", `dynamic routing meets ${what} that is not finite`, {
    expected: "finite values whose products fit float32",
    received: "infinity or NaN",
    hint: "A diverging learning rate is the usual cause; look at the step before.",
  });
}
