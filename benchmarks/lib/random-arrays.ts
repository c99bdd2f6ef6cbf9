/** A fast seeded stream (xoshiro128**) for inputs of up to hundreds of millions of numbers. */
export function randomStream(seed: number): () => number {
  let [a, b, c, d] = [seed ^ 0x9e3779b9, seed ^ 0x243f6a88, 0xb7e15162, 0xdeadbeef];
  const next = (): number => {
    const r = Math.imul(rotate(Math.imul(b, 5), 7), 9);
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return (r >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) next();
  return next;
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

/** Standard normal numbers (Marsaglia's polar method). */
export function normals(count: number, seed: number, scale = 1): Float32Array {
  const uniform = randomStream(seed);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    let x = 0;
    let y = 0;
    let s = 0;
    do {
      x = 2 * uniform() - 1;
      y = 2 * uniform() - 1;
      s = x * x + y * y;
    } while (s >= 1 || s === 0);
    const factor = scale * Math.sqrt((-2 * Math.log(s)) / s);
    out[i] = x * factor;
    if (i + 1 < count) out[i + 1] = y * factor;
  }
  return out;
}

/** Whole numbers of [0, limit). */
export function integers(count: number, limit: number, seed: number): Uint32Array {
  const uniform = randomStream(seed);
  return Uint32Array.from({ length: count }, () => Math.floor(uniform() * limit));
}

/** Scales each row to unit length, in place. */
export function normalizeRows(data: Float32Array, cols: number): Float32Array {
  for (let from = 0; from < data.length; from += cols) {
    let squared = 0;
    for (let i = from; i < from + cols; i++) squared += data[i]! ** 2;
    const factor = 1 / Math.sqrt(squared);
    for (let i = from; i < from + cols; i++) data[i] = data[i]! * factor;
  }
  return data;
}
