// Calls every function of the addon with arguments that are wrong in every way, in a process of its own that a crash would
// end. Prints what it found, as JSON.
//   node border-calls.mjs <folder> <seed> <random calls>
import { loadBinding } from "../index.js";
import { declaredFunctions, validArguments } from "./border-shapes.mjs";

/** @typedef {import("./border-shapes.mjs").Parameter} Parameter */
/** @typedef {Float32Array | Int32Array | Uint32Array | Int16Array | Uint8Array} Typed */

const [, , folder = "", seed = "1", calls = "1000"] = process.argv;
const CODES = new Set([
  "INVALID_ARGUMENT",
  "SHAPE_MISMATCH",
  "NON_FINITE",
  "OUT_OF_MEMORY",
  "DEVICE_UNAVAILABLE",
  "DATA_FORMAT",
  "FILE_NOT_FOUND",
  "IO",
]);
/** Numbers that are values: anything goes. */
const VALUES = new Set(
  "p0 p1 scale epsilon learningRate beta1 beta2 weightDecay gradientScale alpha beta ridge contextSmoothing maxCost minGain sampleLoss temperature".split(
    " ",
  ),
);
const NO_SIZES = [undefined, null, "3", {}, Number.NaN, -1, 0.5, 2 ** 53, Number.POSITIVE_INFINITY, 1e300];
const SIZES = [0, 1, 2, 3, 5, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 2, 2 ** 33, 2 ** 52, 2 ** 53 - 1];
const PAD = 64;
const GUARD = 0xa5;

const binding = loadBinding();
const functions = declaredFunctions();
const valid = validArguments(binding, folder);
let state = Number(seed);
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
/** @template T @param {readonly T[]} list */
const pick = (list) => /** @type {T} */ (list[Math.floor(random() * list.length)]);

/** @param {unknown} value @returns {value is Typed} */
const isTyped = (value) => ArrayBuffer.isView(value) && !(value instanceof DataView);

/** @type {Uint8Array[]} */
let guards = [];
/**
 * The same numbers between bytes that nobody may write to.
 * @param {unknown} value @returns {unknown}
 */
function guarded(value) {
  if (Array.isArray(value)) return value.map(guarded);
  if (!isTyped(value)) return value;
  const buffer = new ArrayBuffer(value.byteLength + 2 * PAD);
  const bytes = new Uint8Array(buffer).fill(GUARD);
  bytes.set(new Uint8Array(value.buffer, value.byteOffset, value.byteLength), PAD);
  guards.push(bytes.subarray(0, PAD), bytes.subarray(PAD + value.byteLength));
  return Reflect.construct(value.constructor, [buffer, PAD, value.length]);
}

/** @param {Typed} array @param {number} length */
function resized(array, length) {
  /** @type {Typed} */
  const other = Reflect.construct(array.constructor, [length]);
  other.set(array.subarray(0, length));
  return other;
}

/** @param {Typed} array */
function detached(array) {
  const copy = array.slice();
  structuredClone(copy.buffer, { transfer: [copy.buffer] });
  return copy;
}

/** @param {Typed} array @param {ArrayBufferConstructor | SharedArrayBufferConstructor} kind */
function growable(array, kind) {
  const buffer = Reflect.construct(kind, [array.byteLength, { maxByteLength: 2 * array.byteLength + 8 }]);
  const copy = Reflect.construct(array.constructor, [buffer]);
  copy.set(array);
  return copy;
}

/** @type {Record<string, number>} */
const found = {};
/** @type {string[]} */
const faults = [];

/**
 * @param {string} name @param {unknown[]} args @param {string} what
 * @param {boolean} [mustFail]
 */
async function call(name, args, what, mustFail = false) {
  let code = "ok";
  try {
    await Reflect.apply(Reflect.get(binding, name), undefined, args);
  } catch (error) {
    code = error instanceof Error ? String(Reflect.get(error, "code")) : String(error);
    if (!CODES.has(code)) faults.push(`${name}, ${what}: ${code} ${error}`);
  }
  found[code] = (found[code] ?? 0) + 1;
  if (mustFail && code === "ok") faults.push(`${name}, ${what}: was accepted`);
  if (guards.some((bytes) => bytes.some((byte) => byte !== GUARD)))
    faults.push(`${name}, ${what}: wrote beyond an array`);
  guards = [];
}

/**
 * Valid arguments between guards, with some changed.
 * @param {string} name @param {Record<string, (value: unknown) => unknown>} changes by parameter
 */
function changed(name, changes) {
  const { named, parameters } = functions.get(name) ?? { named: false, parameters: [] };
  const args = (valid[name] ?? (() => []))();
  if (!named) return args.map((value, i) => (changes[parameters[i]?.name ?? ""] ?? guarded)(value));
  const fields = Object.entries(Object(args[0]));
  const object = Object.fromEntries(fields.map(([key, value]) => [key, (changes[key] ?? guarded)(value)]));
  return [object];
}

/** What a parameter may be changed to, and whether that must fail. @param {Parameter} parameter @param {unknown} value */
function* wrong({ name, type, optional }, value) {
  const absent = (/** @type {unknown} */ other) => other === undefined && optional;
  if (isTyped(value)) {
    const others = [
      undefined,
      null,
      "text",
      {},
      [1, 2],
      7,
      new DataView(new ArrayBuffer(64)),
      new BigInt64Array(value.length),
    ];
    for (const other of others) yield { to: other, what: `${name} = ${String(other)}`, mustFail: !absent(other) };
    yield { to: detached(value), what: `${name} detached`, mustFail: true };
    yield { to: growable(value, SharedArrayBuffer), what: `${name} growable`, mustFail: true };
    yield { to: growable(value, ArrayBuffer), what: `${name} resizable`, mustFail: true };
    for (const length of [0, value.length - 1, value.length + 1]) {
      yield { to: guarded(resized(value, Math.max(0, length))), what: `${name} of ${length}`, mustFail: false };
    }
  } else if (type === "number" && !VALUES.has(name)) {
    for (const other of NO_SIZES) yield { to: other, what: `${name} = ${String(other)}`, mustFail: !absent(other) };
    for (const other of SIZES) yield { to: other, what: `${name} = ${other}`, mustFail: false };
  } else {
    const mustFail = (/** @type {unknown} */ other) =>
      !absent(other) && !(type === "number" && typeof other === "number");
    for (const other of [undefined, null, {}, Number.NaN, -1, 1e300, Symbol.iterator]) {
      yield { to: other, what: `${name} = ${String(other)}`, mustFail: mustFail(other) };
    }
  }
}

const names = [...functions.keys()].filter((name) => name !== "runtimeInfo" && name !== "cudaInfo");
const threads = binding.runtimeInfo().threads;
for (const name of names) {
  const { named, parameters = [] } = functions.get(name) ?? { named: false };
  if (valid[name] === undefined) {
    faults.push(`${name}: there are no valid arguments of it here`);
    continue;
  }
  await call(name, changed(name, {}), "valid");
  await call(name, [], "no arguments", true);
  await call(name, named ? [null] : [], "null", true);
  for (const [i, parameter] of parameters.entries()) {
    const args = valid[name]();
    const value = named ? Object(args[0])[parameter.name] : args[i];
    if (named && value === undefined && parameter.optional) continue;
    for (const { to, what, mustFail } of wrong(parameter, value)) {
      await call(name, changed(name, { [parameter.name]: () => to }), what, mustFail);
    }
  }
}

for (let n = 0; n < Number(calls); n++) {
  const name = pick(names);
  /** @type {Record<string, (value: unknown) => unknown>} */
  const changes = {};
  for (const { name: parameter, type } of functions.get(name)?.parameters ?? []) {
    if (random() < 0.6) continue;
    changes[parameter] = (value) => {
      if (isTyped(value)) {
        const other = resized(value, Math.floor(random() * (value.length + 3)));
        if (random() < 0.3 && other.length > 0)
          other[Math.floor(random() * other.length)] = pick([0, 1, -1, 2 ** 31, 3]);
        return guarded(other);
      }
      return type === "number" && !VALUES.has(parameter) ? pick(SIZES) : guarded(value);
    };
  }
  await call(name, changed(name, changes), `random call ${n}: ${Object.keys(changes)}`);
}
binding.setThreads(threads);
process.stdout.write(JSON.stringify({ found, faults: faults.slice(0, 60), count: faults.length }));
