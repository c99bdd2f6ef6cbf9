import { spawn } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { join } from "node:path";
import { isPrismrecError, threadBudget } from "@prismrec/core/base";
import { cudaInfo, native, nativeUnavailableHint, nativeUnavailableReason } from "@prismrec/core/ops";
import {
  inspectGguf,
  LLAMA_CPP_INSTALL,
  LlamaCppModel,
  llamaCppInstalled,
  modelFolder,
  openLanguageModel,
  parseModelUri,
  RECOMMENDED_MODEL,
} from "@prismrec/llm";
import type { Io } from "../io.js";
import type { Check } from "./check.js";

const MINIMUM_NODE = [20, 19] as const;

/** Everything that decides what prismrec can do here. */
export async function checkMachine(io: Io, model: string | undefined): Promise<Check[]> {
  const found = await checkModel(io, model);
  return [
    checkNode(process.versions.node),
    checkNative(),
    checkProcessor(),
    await checkGpu(),
    found,
    await checkLlamaCpp(found.status === "failed" ? undefined : found.path),
    await checkPython(),
    checkMemory(),
  ];
}

export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const fits = major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1]);
  const text = `${version} ${process.platform}-${process.arch}`;
  if (fits) return { name: "Node", status: "ok", text };
  return {
    name: "Node",
    status: "failed",
    text,
    remedy: `Node ${MINIMUM_NODE.join(".")} or newer is needed.`,
  };
}

function checkNative(): Check {
  const name = "Native addon";
  let binding: ReturnType<typeof native>;
  try {
    binding = native();
  } catch (error) {
    return {
      name,
      status: "failed",
      text: error instanceof Error ? error.message : String(error),
      remedy: "Unset PRISMREC_SIMD, or choose a variant that this processor has.",
    };
  }
  if (binding !== undefined) return { name, status: "ok", text: `loaded, ${binding.runtimeInfo().compiler}` };
  return {
    name,
    status: "missing",
    text: `not loaded, TypeScript stands in (slower): ${nativeUnavailableReason() ?? "unknown reason"}`,
    remedy: nativeUnavailableHint() ?? "Install prismrec again.",
  };
}

function checkProcessor(): Check {
  const name = "Processor";
  const model = cpus()[0]?.model.trim() ?? "unknown";
  const threads = `${threadBudget()} of ${availableParallelism()} threads granted`;
  try {
    const info = native()?.runtimeInfo();
    const simd = info === undefined ? "" : `, ${info.simd} in use of ${info.supportedSimd.join(" ")}`;
    return { name, status: "ok", text: `${model}${simd}, ${threads}` };
  } catch (error) {
    return { name, status: "failed", text: error instanceof Error ? error.message : String(error) };
  }
}

/** What the CUDA library finds; a GPU that only nvidia-smi sees, because the library is not built, is told apart. */
async function checkGpu(): Promise<Check> {
  const name = "GPU";
  let info: ReturnType<typeof cudaInfo>;
  try {
    info = cudaInfo();
  } catch {
    info = undefined; // the addon refuses to load, which has a line of its own
  }
  if (info?.usable === true) {
    const devices = info.devices.map(
      ({ name, capability, memoryBytes, freeBytes }, i) =>
        `${i}: ${name}, sm_${capability}, ${gibibytes(freeBytes)} of ${gibibytes(memoryBytes)} GiB free`,
    );
    return { name, status: "ok", text: `${devices.join("; ")}; CUDA ${version(info.runtime)}` };
  }
  const seen = await output("nvidia-smi", ["--query-gpu=name,driver_version", "--format=csv,noheader"]);
  const reason = info?.reason ?? "the native addon is not loaded";
  const detail = [info?.expected && `expected ${info.expected}`, info?.received && `found ${info.received}`]
    .filter(Boolean)
    .join(", ");
  if (seen.ok) {
    return {
      name,
      status: "missing",
      text: `${seen.text.split("\n")[0] ?? "an NVIDIA GPU"}, not used: ${reason}${detail === "" ? "" : ` (${detail})`}`,
      remedy: info?.hint || "Everything runs on the processor.",
    };
  }
  return {
    name,
    status: "missing",
    text: `not used: ${reason}${info?.library ? ` (${detail})` : ""}; nvidia-smi did not run`,
    remedy: "Nothing needs one: everything runs on the processor.",
  };
}

function gibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}

/** 12040 -> "12.4" */
function version(cuda: number): string {
  return `${Math.floor(cuda / 1000)}.${Math.floor((cuda % 1000) / 10)}`;
}

/** Opens the model for real: only that shows that llama.cpp and the file fit together. */
async function checkLlamaCpp(path: string | undefined): Promise<Check> {
  const name = "llama.cpp";
  if (!llamaCppInstalled()) {
    return {
      name,
      status: "missing",
      text: "not installed: interests come from the items' categories",
      remedy: `For interests read from titles: ${LLAMA_CPP_INSTALL}`,
    };
  }
  if (path === undefined) return { name, status: "missing", text: "not tried: there is no model to open" };
  const start = performance.now();
  try {
    const model = await LlamaCppModel.open({ modelPath: path, contextSize: 256 });
    await model.close();
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    return { name, status: "ok", text: `opened ${model.name} in ${seconds} s, on the processor` };
  } catch (error) {
    const hint = isPrismrecError(error) ? error.hint : undefined;
    return {
      name,
      status: "failed",
      text: error instanceof Error ? error.message : String(error),
      remedy: hint ?? "Run npm install again; prismrec works with --clusterer category until then.",
    };
  }
}

async function checkModel(io: Io, model: string | undefined): Promise<Check & { readonly path?: string }> {
  const name = "Model";
  const named = model ?? io.env.PRISMREC_LLM;
  const remedy = `Get a GGUF file, for example ${RECOMMENDED_MODEL.file}, and give it with --llm FILE or PRISMREC_LLM.`;
  if (named !== undefined && named !== "" && named !== "none") return describeModel(name, named, "named");
  const folder = modelFolder(io.env);
  const files = await readdir(folder).catch(() => []);
  const usable = files.filter((file) => file.endsWith(".gguf")).sort();
  const preferred = usable.find((file) => file === RECOMMENDED_MODEL.file) ?? usable[0];
  if (preferred !== undefined) return describeModel(name, join(folder, preferred), `${usable.length} in ${folder}`);
  return {
    name,
    status: "missing",
    text: `none named and none in ${folder}: interests would come from the items' categories`,
    remedy: `prismrec run gets the small default one (98 MB) where it can. ${remedy}`,
  };
}

async function describeModel(name: string, path: string, where: string): Promise<Check & { readonly path?: string }> {
  try {
    if (parseModelUri(path).kind === "server") return await describeServer(name, path);
    if (!llamaCppInstalled()) return { name, status: "missing", text: `${path} (${where}): nothing to open it with` };
    const info = await inspectGguf(path);
    const { size } = await stat(path);
    const free = freemem();
    const fits = size < free ? "" : `, more than the ${gigabytes(free)} of memory that are free`;
    const text = `${path} (${where}): ${info.architecture}, ${gigabytes(size)}${fits}`;
    return { name, status: size < free ? "ok" : "missing", text, path };
  } catch (error) {
    if (!isPrismrecError(error)) throw error;
    return { name, status: "failed", text: error.message, ...(error.hint === undefined ? {} : { remedy: error.hint }) };
  }
}

/** Asks the server itself: only that shows that it is there, lets us in, and what it can do. */
async function describeServer(name: string, uri: string): Promise<Check> {
  const model = await openLanguageModel(uri, { retries: 1, timeoutSeconds: 30 });
  await model.close();
  const able = Object.entries(model.capabilities).flatMap(([capability, has]) => (has === true ? [capability] : []));
  return { name, status: "ok", text: `${model.name} at ${uri}: ${able.join(", ")}` };
}

async function checkPython(): Promise<Check> {
  for (const python of ["python3", "python"]) {
    const version = await output(python, ["--version"]);
    if (!version.ok) continue;
    const pip = await output(python, ["-m", "pip", "--version"]);
    const text = `${version.text}${pip.ok ? " with pip" : " without pip"}`;
    return { name: "Python", status: "ok", text: `${text}: needed only to get the default model, never to run` };
  }
  return {
    name: "Python",
    status: "missing",
    text: "not found: needed only to get the default model, never to run",
    remedy: "Give a model of your own with --llm FILE.",
  };
}

function checkMemory(): Check {
  return { name: "Memory", status: "ok", text: `${gigabytes(freemem())} free of ${gigabytes(totalmem())}` };
}

function gigabytes(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function output(command: string, args: readonly string[]): Promise<{ readonly ok: boolean; readonly text: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], timeout: 10_000 });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    child.on("error", () => resolve({ ok: false, text: "" }));
    child.on("close", (code) => resolve({ ok: code === 0, text: text.trim() }));
  });
}
