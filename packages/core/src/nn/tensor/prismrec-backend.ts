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
 * Float outputs of native kernels come from a pool and go back to it with their tensor. They never leave the backend:
 * `dataSync` and the kernels that run in JavaScript get an array of the tensor's own, which, as on tfjs's CPU backend,
 * is the very array that the tensor has from then on.
 */
export class PrismrecBackend extends MathBackendCPU {
  readonly native: NativeKernels;
  readonly #pool = new BufferPool(POOL_BYTES);
  /** The buffer behind each pooled array in use. */
  readonly #pooled = new WeakMap<object, ArrayBuffer>();

  constructor(kernels: NativeKernels) {
    super();
    this.native = kernels;
  }

  /** An array for a kernel that writes every element; its contents are undefined. */
  allocate(length: number): Float32Array {
    if (length < POOLED_LENGTH) return new Float32Array(length);
    const array = this.#pool.take(length);
    if (array.buffer instanceof ArrayBuffer) this.#pooled.set(array, array.buffer);
    return array;
  }

  /** Gives a tensor an array of its own, because others are about to see it. */
  share(dataId: object): void {
    const data = this.data.get(dataId);
    const { values } = data;
    if (!(values instanceof Float32Array) || !this.#pooled.has(values)) return;
    data.values = values.slice();
    this.#release(values);
  }

  override readSync(dataId: object): tf.backend_util.BackendValues {
    this.share(dataId);
    return super.readSync(dataId);
  }

  override disposeData(dataId: object, force = false): boolean {
    const values = this.data.has(dataId) ? this.data.get(dataId).values : undefined;
    const gone = super.disposeData(dataId, force);
    if (gone && values instanceof Float32Array) this.#release(values);
    return gone;
  }

  #release(values: Float32Array): void {
    const buffer = this.#pooled.get(values);
    if (buffer === undefined) return;
    this.#pooled.delete(values);
    this.#pool.give(buffer);
  }
}
