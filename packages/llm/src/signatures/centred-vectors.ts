import { type Matrix, PrismrecError } from "@prismrec/core/base";
import { unitRows } from "@prismrec/core/interests";

/** Vectors of an embedding model minus their mean, which all texts share; rows of unit length, none for none. [texts, numbers of a vector] */
export function centredVectors(vectors: readonly Float32Array[], name: string): Matrix {
  const rows = vectors.length;
  const cols = vectors[0]?.length ?? 0;
  if (rows === 0) return { data: new Float32Array(), rows, cols };
  if (cols === 0 || vectors.some((vector) => vector.length !== cols || !vector.every(Number.isFinite))) {
    throw new PrismrecError("LLM_OUTPUT_INVALID", `${name} gave vectors that cannot be compared`, {
      expected: `${rows} vectors of finite numbers, all of one length`,
      hint: "use a GGUF embedding model, for example all-MiniLM-L6-v2",
    });
  }
  const data = new Float32Array(rows * cols);
  for (let k = 0; k < cols; k++) {
    let sum = 0;
    for (const vector of vectors) sum += vector[k]!;
    vectors.forEach((vector, i) => {
      data[i * cols + k] = vector[k]! - sum / rows;
    });
  }
  return unitRows({ data, rows, cols });
}
