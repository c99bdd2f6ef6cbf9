/** Row-major strides in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= shape[d]!;
  }
  return strides;
}

export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** Strides with which an operand of `shape` walks over `out`: 0 wherever it repeats. */
export function broadcastStrides(shape: readonly number[], out: readonly number[]): number[] {
  const own = stridesOf(shape);
  const lead = out.length - shape.length;
  return out.map((_, d) => (d < lead || shape[d - lead] === 1 ? 0 : own[d - lead]!));
}

const MAX_RANK = 8;

/**
 * A walk of two operands over one index space, packed as the addon reads it: rank, sizes, strides of the first, strides
 * of the second. The buffer is one for all calls (they are synchronous), so use it before the next `pack`.
 */
const packed = new Int32Array(1 + 3 * MAX_RANK);
const sizes = new Array<number>(MAX_RANK);
const stepsA = new Array<number>(MAX_RANK);
const stepsB = new Array<number>(MAX_RANK);

/**
 * Packs a walk, merging dimensions that both operands cross without a jump; undefined where more than eight
 * dimensions are left, which no model here comes near.
 */
export function packWalk(
  shape: readonly number[],
  stridesA: readonly number[],
  stridesB: readonly number[],
): Int32Array | undefined {
  let rank = 0;
  for (let d = 0; d < shape.length; d++) {
    const size = shape[d]!;
    if (size === 1) continue;
    const last = rank - 1;
    if (last >= 0 && stepsA[last] === stridesA[d]! * size && stepsB[last] === stridesB[d]! * size) {
      sizes[last]! *= size;
      stepsA[last] = stridesA[d]!;
      stepsB[last] = stridesB[d]!;
      continue;
    }
    if (rank === MAX_RANK) return undefined;
    sizes[rank] = size;
    stepsA[rank] = stridesA[d]!;
    stepsB[rank] = stridesB[d]!;
    rank++;
  }
  packed[0] = rank;
  for (let d = 0; d < rank; d++) {
    packed[1 + d] = sizes[d]!;
    packed[1 + rank + d] = stepsA[d]!;
    packed[1 + 2 * rank + d] = stepsB[d]!;
  }
  return packed;
}

/** A walk of two operands of one contiguous run of `count` elements; a step of 0 repeats the first element. */
export function packRun(count: number, stepA: 0 | 1, stepB: 0 | 1): Int32Array {
  packed[0] = 1;
  packed[1] = count;
  packed[2] = stepA;
  packed[3] = stepB;
  return packed;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let d = 0; d < a.length; d++) if (a[d] !== b[d]) return false;
  return true;
}

/** Axes as sorted, non-negative indices; all of them where `axis` is absent. */
export function axesOf(axis: number | readonly number[] | undefined, rank: number): number[] {
  if (axis === undefined) return Array.from({ length: rank }, (_, d) => d);
  const list = typeof axis === "number" ? [axis] : axis;
  return [...new Set(list.map((a) => (a < 0 ? a + rank : a)))].sort((a, b) => a - b);
}
