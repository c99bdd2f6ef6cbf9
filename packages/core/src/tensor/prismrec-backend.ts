import { MathBackendCPU } from "@tensorflow/tfjs-backend-cpu";
import { BufferPool } from "./buffer-pool.js";
import type { NativeKernels } from "./native-kernels.js";
import type { tf } from "./tfjs.js";

/** What is smaller is cheaper to allocate anew than to look up. */
const POOLED_LENGTH = 1024;
const POOL_BYTES = 256 * 2 ** 20;

/**
 * tfjs's CPU backend with its hot kernels replaced by native ones. Storage stays plain typed arrays, which the addon
 * reads and writes where they lie.
 *
 * Float outputs of native kernels come from a pool and go back to it with their tensor, unless somebody else may hold
 * the array: `dataSync` hands out the very array, as tfjs's CPU backend does, so an array once read is never reused.
 */
export class PrismrecBackend extends MathBackendCPU {
  readonly native: NativeKernels;
  readonly #pool = new BufferPool(POOL_BYTES);
  readonly #reusable = new WeakSet<object>();

  constructor(kernels: NativeKernels) {
    super();
    this.native = kernels;
  }

  /** An array for a kernel that writes every element; its contents are undefined. */
  allocate(length: number): Float32Array {
    if (length < POOLED_LENGTH) return new Float32Array(length);
    const array = this.#pool.take(length) ?? new Float32Array(length);
    this.#reusable.add(array);
    return array;
  }

  /** From now on the tensor's array may be held by others. */
  share(dataId: object): void {
    const { values } = this.data.get(dataId);
    if (values !== undefined) this.#reusable.delete(values);
  }

  override readSync(dataId: object): tf.backend_util.BackendValues {
    this.share(dataId);
    return super.readSync(dataId);
  }

  override disposeData(dataId: object, force = false): boolean {
    const values = this.data.has(dataId) ? this.data.get(dataId).values : undefined;
    const gone = super.disposeData(dataId, force);
    if (gone && values instanceof Float32Array && this.#reusable.delete(values)) this.#pool.give(values);
    return gone;
  }
}
