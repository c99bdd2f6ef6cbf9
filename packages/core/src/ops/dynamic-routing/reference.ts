import type {
  DynamicRoutingGradientInput,
  DynamicRoutingGradients,
  DynamicRoutingInput,
  DynamicRoutingOutput,
  RoutingProblem,
} from "./types.js";

const SQUASH_EPSILON = 1e-9;

/** Where the map of interest k at position t begins in `maps`. */
function mapStart({ mapCount, shared, dim, interests }: RoutingProblem, t: number, k: number): number {
  const columns = shared ? dim : interests * dim;
  return (mapCount === 1 ? 0 : t * dim * columns) + (shared ? 0 : k * dim);
}

/** Where event b * T + t begins in `events`. */
function eventStart({ rows, dim }: RoutingProblem, event: number): number {
  return (rows?.[event] ?? event) * dim;
}

/** [K, T, d] what each event of a user says about each interest. */
function predictionsOf(problem: RoutingProblem, user: number): Float64Array {
  const { length, interests, dim, events, maps, shared } = problem;
  const columns = shared ? dim : interests * dim;
  const predictions = new Float64Array(interests * length * dim);
  for (let k = 0; k < interests; k++) {
    for (let t = 0; t < problem.lengths[user]!; t++) {
      const map = mapStart(problem, t, k);
      const to = (k * length + t) * dim;
      const at = eventStart(problem, user * length + t);
      for (let i = 0; i < dim; i++) {
        const x = events[at + i]!;
        for (let c = 0; c < dim; c++) predictions[to + c]! += x * maps[map + i * columns + c]!;
      }
    }
  }
  return predictions;
}

export function dynamicRoutingReference(input: DynamicRoutingInput): DynamicRoutingOutput {
  const { users, length, interests, dim, iterations } = input;
  const vectors = new Float32Array(users * interests * dim);
  const sums = new Float32Array(users * interests * dim);
  const coefficients = new Float32Array(users * interests * length);
  const weights = new Float64Array(interests * length);
  const sum = new Float64Array(dim);
  for (let b = 0; b < users; b++) {
    const count = input.lengths[b]!;
    const predictions = predictionsOf(input, b);
    const logits = Float64Array.from(input.initial);
    for (let round = 1; round <= iterations; round++) {
      for (let t = 0; t < count; t++) {
        let top = Number.NEGATIVE_INFINITY;
        for (let k = 0; k < interests; k++) top = Math.max(top, logits[k * length + t]!);
        let total = 0;
        for (let k = 0; k < interests; k++) total += Math.exp(logits[k * length + t]! - top);
        for (let k = 0; k < interests; k++) {
          weights[k * length + t] = Math.exp(logits[k * length + t]! - top) / total;
        }
      }
      for (let k = 0; k < interests; k++) {
        sum.fill(0);
        for (let t = 0; t < count; t++) {
          const at = (k * length + t) * dim;
          for (let c = 0; c < dim; c++) sum[c]! += weights[k * length + t]! * predictions[at + c]!;
        }
        let squared = 0;
        for (let c = 0; c < dim; c++) squared += sum[c]! * sum[c]!;
        const factor = Math.sqrt(squared + SQUASH_EPSILON) / (1 + squared);
        for (let t = 0; t < count; t++) {
          const at = (k * length + t) * dim;
          let agreement = 0;
          for (let c = 0; c < dim; c++) agreement += predictions[at + c]! * sum[c]!;
          logits[k * length + t]! += factor * agreement;
        }
        const interest = b * interests + k;
        sums.set(sum, interest * dim);
        for (let c = 0; c < dim; c++) vectors[interest * dim + c] = factor * sum[c]!;
        for (let t = 0; t < count; t++) coefficients[interest * length + t] = weights[k * length + t]!;
      }
    }
  }
  return { vectors, sums, coefficients };
}

export function dynamicRoutingGradientReference(input: DynamicRoutingGradientInput): DynamicRoutingGradients {
  const { users, length, interests, dim, sums, coefficients, vectorGradient } = input;
  const columns = input.shared ? dim : interests * dim;
  const events = new Float64Array(users * length * dim);
  const maps = new Float64Array(input.maps.length);
  const sumGradient = new Float64Array(dim);
  for (let interest = 0; interest < users * interests; interest++) {
    const user = Math.floor(interest / interests);
    const [from, to] = [interest * dim, (interest + 1) * dim];
    let squared = 0;
    let along = 0;
    for (let i = from; i < to; i++) {
      squared += sums[i]! * sums[i]!;
      along += sums[i]! * vectorGradient[i]!;
    }
    const root = Math.sqrt(squared + SQUASH_EPSILON);
    const slope = ((1 + squared) / root - 2 * root) / (1 + squared) ** 2;
    for (let c = 0; c < dim; c++) {
      sumGradient[c] = (root / (1 + squared)) * vectorGradient[from + c]! + slope * along * sums[from + c]!;
    }
    for (let t = 0; t < input.lengths[user]!; t++) {
      const share = coefficients[interest * length + t]!;
      const event = (user * length + t) * dim;
      const read = eventStart(input, user * length + t);
      const map = mapStart(input, t, interest % interests);
      for (let i = 0; i < dim; i++) {
        for (let c = 0; c < dim; c++) {
          const gradient = share * sumGradient[c]!;
          const weight = map + i * columns + c;
          events[event + i]! += gradient * input.maps[weight]!;
          maps[weight]! += gradient * input.events[read + i]!;
        }
      }
    }
  }
  return { events: Float32Array.from(events), maps: Float32Array.from(maps) };
}
