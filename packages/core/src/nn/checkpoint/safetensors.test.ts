import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeSafetensors, encodeSafetensors, type StoredTensor } from "./safetensors.js";

const sample = new Map<string, StoredTensor>([
  ["weights", { shape: [2, 3], data: Float32Array.of(1, -2.5, 3e-30, 4, 5, 6) }],
  ["steps", { shape: [2], data: Uint32Array.of(7, 4_000_000_000) }],
  ["empty", { shape: [0, 4], data: new Float32Array(0) }],
  ["scalar", { shape: [], data: Int16Array.of(-3) }],
]);

describe("safetensors", () => {
  it("lays a file out as eight bytes of header length, a JSON header and little-endian data", () => {
    const bytes = encodeSafetensors([["a", { shape: [1], data: Float32Array.of(1) }]], { note: "x" });
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    expect(JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))).toEqual({
      __metadata__: { note: "x" },
      a: { dtype: "F32", shape: [1], data_offsets: [0, 4] },
    });
    expect(Array.from(bytes.subarray(8 + length))).toEqual([0, 0, 0x80, 0x3f]);
  });

  it("reads back what it wrote, bit for bit, into memory of its own", () => {
    const bytes = encodeSafetensors(sample, { model: "ldmi" });
    const file = decodeSafetensors(bytes, "test");
    expect(file.metadata).toEqual({ model: "ldmi" });
    expect([...file.tensors]).toEqual([...sample]);
    bytes.fill(0);
    expect(file.tensors.get("weights")?.data[0]).toBe(1);
  });

  it("gives equal bytes for equal content", () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true }), { maxLength: 20 }), (values) => {
        const tensor: StoredTensor = { shape: [values.length], data: Float32Array.from(values) };
        const once = encodeSafetensors([["x", tensor]]);
        const { tensors } = decodeSafetensors(once, "test");
        expect(encodeSafetensors(tensors)).toEqual(once);
      }),
    );
  });

  it("says that a file is cut short wherever it was cut", () => {
    const bytes = encodeSafetensors(sample);
    for (let length = 0; length < bytes.length; length += 3) {
      expect(() => decodeSafetensors(bytes.subarray(0, length), "cut")).toThrowError(/cut is not a whole safetensors/);
    }
    expect(() => decodeSafetensors(new Uint8Array([...bytes, 0]), "long")).toThrowError(/follow the last tensor/);
  });

  it("refuses headers that contradict themselves", () => {
    const withHeader = (header: string, data: number) => {
      const json = new TextEncoder().encode(header);
      const bytes = new Uint8Array(8 + json.length + data);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
      bytes.set(json, 8);
      return bytes;
    };
    const refused: [string, number, RegExp][] = [
      ["[1]", 0, /no object/],
      ["nonsense", 0, /not JSON/],
      ['{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}', 2, /dtype BF16/],
      ['{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4, /contradicts its shape/],
      ['{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4, /no valid shape/],
      ['{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', 4, /no valid data_offsets/],
    ];
    for (const [header, data, message] of refused) {
      expect(() => decodeSafetensors(withHeader(header, data), "bad")).toThrowError(message);
    }
  });

  it("refuses a tensor whose data do not have the length of its shape", () => {
    expect(() => encodeSafetensors([["x", { shape: [3], data: Float32Array.of(1) }]])).toThrowError(
      /length of its shape/,
    );
  });
});
