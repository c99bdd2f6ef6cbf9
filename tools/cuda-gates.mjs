// What can be known of the CUDA kernels without a GPU: they compile for every architecture without a warning, keep
// within the registers and shared memory of native/cuda-limits.json, spill nothing, and hold the instructions that
// they are written for.
//   node tools/cuda-gates.mjs [--write]     --write: take the present figures for the limits
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { compileCuda } from "./build-cuda.mjs";
import { pinnedToolchain } from "./lib/cuda-toolchain.mjs";
import { main, none } from "./lib/native-tests.mjs";
import { root, run } from "./lib/run.mjs";

const LIMITS = join(root, "native", "cuda-limits.json");

/** @typedef {{ registers: number, spills: number, shared: number }} Usage spills: bytes stored and loaded */
/** @typedef {Record<string, Record<string, Usage>>} Usages kernel -> architecture -> usage */

/**
 * Instructions (of SASS) that a kernel of this name must hold; cuda/tile.cuh and scan.cuh say which runs where, the last
 * is a test's.
 */
const INSTRUCTIONS = [
  { kernels: /(Statistics|Gradient)Kernel<\d+, true/, on: [80, 90, 100], must: ["HMMA.*TF32", "LDGSTS.*128", "LDS"] },
  { kernels: /(Statistics|Gradient)Kernel<\d+, false/, on: [75, 86, 89, 120], must: ["FFMA", "LDG.*128", "LDS.*128"] },
  { kernels: /(Predict|EventGradient|MapGradient)Kernel<true/, on: [80, 90, 100], must: ["HMMA.*TF32", "LDGSTS.*128"] },
  { kernels: /(Predict|EventGradient|MapGradient)Kernel<false/, on: [75, 86, 89, 120], must: ["FFMA", "LDS"] },
  { kernels: /ScanKernel<\d+, true/, on: [80, 86, 89, 90, 100, 120], must: ["HMMA.*TF32", "LDGSTS.*128", "LDS.*128"] },
  { kernels: /ScanKernel<\d+, false/, on: [75], must: ["FFMA", "LDG.*128", "LDS.*128"] },
  {
    kernels: /MultiplyBf16Kernel</,
    on: [80, 86, 89, 90, 100, 120],
    must: ["HMMA\\.16816\\.F32\\.BF16", "F2FP\\.BF16"],
  },
];

/**
 * Usage of every kernel from what `ptxas -v` prints.
 * @param {string} output demangled
 * @returns {Usages}
 */
export function parseUsage(output) {
  /** @type {Usages} */
  const usages = {};
  let kernel = "";
  let arch = "";
  let spills = 0;
  for (const line of output.split("\n")) {
    const entry = /Compiling entry function '([^']+)' for 'sm_(\w+)'/.exec(line);
    if (entry !== null) [, kernel = "", arch = ""] = entry;
    const spilled = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spilled !== null) spills = Number(spilled[1]) + Number(spilled[2]);
    const used = /Used (\d+) registers/.exec(line);
    if (used === null || kernel === "") continue;
    const shared = /(\d+) bytes smem/.exec(line);
    usages[kernel] ??= {};
    usages[kernel][arch] = { registers: Number(used[1]), spills, shared: Number(shared?.[1] ?? 0) };
    kernel = "";
    spills = 0;
  }
  return usages;
}

/**
 * @param {Usages} usages
 * @param {Usages} limits
 * @returns {string[]} what is over, missing, or no longer there
 */
export function exceeded(usages, limits) {
  const complaints = [];
  for (const [kernel, byArch] of Object.entries(usages)) {
    for (const [arch, usage] of Object.entries(byArch)) {
      const limit = limits[kernel]?.[arch];
      if (limit === undefined) {
        complaints.push(`${kernel} sm_${arch}: no limit is written down`);
        continue;
      }
      for (const key of /** @type {const} */ (["registers", "spills", "shared"])) {
        if (usage[key] > limit[key]) complaints.push(`${kernel} sm_${arch}: ${key} ${usage[key]} > ${limit[key]}`);
      }
    }
  }
  for (const [kernel, byArch] of Object.entries(limits)) {
    for (const arch of Object.keys(byArch)) {
      if (usages[kernel]?.[arch] === undefined) complaints.push(`${kernel} sm_${arch}: a limit, but no such kernel`);
    }
  }
  return complaints;
}

/** A kernel's name as people write it: no mangling, no parameters, no namespaces. @param {string} demangled */
function shortName(demangled) {
  const name = demangled.replaceAll("(anonymous namespace)::", "").replaceAll("prismrec::", "");
  const space = name.indexOf("(", name.lastIndexOf(">") + 1);
  return name
    .slice(0, space < 0 ? undefined : space)
    .replace(/^void /, "")
    .replaceAll(/\((\w|::)+\)/g, "")
    .trim();
}

/** @param {string} text with mangled names @returns {Promise<string>} */
async function demangle(text) {
  const mangled = [...new Set(text.match(/_Z\w+/g) ?? [])];
  /** @type {Map<string, string>} */
  const names = new Map();
  for (let i = 0; i < mangled.length; i += 200) {
    const part = mangled.slice(i, i + 200);
    const { output } = await run("c++filt", part);
    const lines = output.trim().split("\n");
    part.forEach((name, at) => {
      names.set(name, shortName(lines[at] ?? name));
    });
  }
  return text.replaceAll(/_Z\w+/g, (name) => names.get(name) ?? name);
}

/**
 * Instructions that a kernel should hold but does not.
 * @param {string} sass of cuobjdump, demangled
 */
function missingInstructions(sass) {
  const complaints = [];
  /** @type {Set<string>} */
  const met = new Set();
  for (const part of sass.split(/^Fatbin elf code/m)) {
    const arch = Number(/arch = sm_(\d+)/.exec(part)?.[1] ?? 0);
    for (const body of part.split(/\n\s*Function : /).slice(1)) {
      const name = body.slice(0, body.indexOf("\n"));
      for (const rule of INSTRUCTIONS) {
        if (!rule.kernels.test(name)) continue;
        if (!rule.on.includes(arch)) continue;
        met.add(String(rule.kernels));
        for (const instruction of rule.must) {
          if (!new RegExp(instruction).test(body)) complaints.push(`${name} sm_${arch}: no ${instruction}`);
        }
      }
    }
  }
  for (const { kernels } of INSTRUCTIONS) {
    if (!met.has(String(kernels))) complaints.push(`no kernel is named ${kernels}`);
  }
  return complaints;
}

export async function cudaGates({ write = false } = {}) {
  const toolchain = await pinnedToolchain();
  /** @type {string[]} */
  let complaints;
  let checked = 0;
  try {
    const targets = ["prismrec_cuda", "cuda_intrinsics_test"];
    const { folder, output } = await compileCuda(toolchain, { name: "cuda-gates", targets, fresh: true });
    const usages = parseUsage(await demangle(output));
    if (write) await writeFile(LIMITS, `${JSON.stringify(usages, null, 2)}\n`);
    const limits = /** @type {Usages} */ (JSON.parse(await readFile(LIMITS, "utf8")));
    let sass = "";
    for (const file of ["prismrec_cuda.so", "cuda_intrinsics_test"]) {
      const dump = await run(join(toolchain.bin, "cuobjdump"), ["-sass", join(folder, file)], {
        env: { PATH: `${toolchain.bin}${delimiter}${process.env.PATH}` },
      });
      if (dump.code !== 0) throw new Error(`cuobjdump failed (exit ${dump.code})\n${dump.output.slice(-2000)}`);
      sass += `${dump.output}\n`;
    }
    complaints = [...exceeded(usages, limits), ...missingInstructions(await demangle(sass))];
    checked = Object.values(usages).reduce((sum, byArch) => sum + Object.keys(byArch).length, 0);
  } catch (error) {
    complaints = [error instanceof Error ? error.message : String(error)];
  }
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
  return { ...none, passed: complaints.length === 0 ? checked : 0, failed: complaints.length };
}

await main(import.meta.url, () => cudaGates({ write: process.argv.includes("--write") }));
