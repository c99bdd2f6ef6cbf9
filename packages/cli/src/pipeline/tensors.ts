import { isPrismrecError, PrismrecError } from "@prismrec/core/base";
import { readSafetensors, type StoredTensor, type TensorData, writeSafetensors } from "@prismrec/core/nn";

/** Typed arrays by name in one safetensors file. */
export async function writeArrays(path: string, arrays: Readonly<Record<string, TensorData>>): Promise<void> {
  const tensors = Object.entries(arrays).map(([name, data]): readonly [string, StoredTensor] => [
    name,
    { shape: [data.length], data },
  ]);
  await writeSafetensors(path, tensors);
}

/** Reads what `writeArrays` wrote. Throws RUN_INVALID, DATA_FORMAT. */
export async function readArrays(path: string): Promise<ArrayReader> {
  return new ArrayReader(path, await readTensors(path));
}

/** The tensors of a safetensors file of a stage, by name. Throws RUN_INVALID, DATA_FORMAT. */
export async function readTensors(path: string): Promise<ReadonlyMap<string, StoredTensor>> {
  try {
    return (await readSafetensors(path)).tensors;
  } catch (cause) {
    if (isPrismrecError(cause, "DATA_FORMAT")) throw cause;
    throw new PrismrecError("RUN_INVALID", `${path} cannot be read`, { hint: "Run the stage again.", cause });
  }
}

type ArrayType<T extends TensorData> = abstract new (...args: never) => T;

export class ArrayReader {
  constructor(
    private readonly path: string,
    private readonly tensors: ReadonlyMap<string, StoredTensor>,
  ) {}

  /** The array of that name and kind, or DATA_FORMAT. */
  get<T extends TensorData>(name: string, type: ArrayType<T>): T {
    const data = this.tensors.get(name)?.data;
    if (data instanceof type) return data;
    throw new PrismrecError("DATA_FORMAT", `${this.path} has no usable array ${name}`, {
      expected: type.name,
      received: data === undefined ? "none" : data.constructor.name,
      hint: "Run the stage again.",
    });
  }
}
