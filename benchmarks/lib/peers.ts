import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Configuration, NodePeer, PythonPeer } from "./bench.js";
import { Contestant } from "./contestant.js";
import { benchmarksRoot } from "./paths.js";

/** Where `npm run bench:peers` puts them, or the folder of that form that PRISMREC_PEERS names. */
export const PEERS_FOLDER = process.env.PRISMREC_PEERS ?? join(benchmarksRoot, ".peers");
const OPENMP_BLAS = join(PEERS_FOLDER, "openblas-openmp");

/** Raising both thresholds keeps freed memory in the process instead of faulting it in anew in every call. */
const TUNED_MALLOC = "glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184";

const SEEN_MODULES = ["numpy", "scipy", "torch", "faiss", "usearch", "submodlib"];

/** Looks modules up without importing them where their metadata says enough. */
const LIST_VERSIONS = `
import importlib, importlib.util, importlib.metadata as metadata, json, sys
names = {"faiss": "faiss-cpu", "submodlib": "submodlib-py"}
found = {}
for name in sys.argv[1:]:
    try:
        if importlib.util.find_spec(name) is None: continue
        try: found[name] = metadata.version(names.get(name, name))
        except metadata.PackageNotFoundError: found[name] = getattr(importlib.import_module(name), "__version__", "?")
    except Exception: pass
print(json.dumps(found))
`;

export class Peers {
  readonly #versions = new Map<string, Readonly<Record<string, string>>>();

  /** Versions of the known modules that a Python has; undefined where there is no such Python. */
  versions(python: Configuration["python"]): Readonly<Record<string, string>> | undefined {
    const path = pythonPath(python);
    if (!existsSync(path)) return undefined;
    let found = this.#versions.get(path);
    if (found === undefined) {
      const { status, stdout } = spawnSync(path, ["-c", LIST_VERSIONS, ...SEEN_MODULES], { encoding: "utf8" });
      found = status === 0 ? (JSON.parse(stdout) as Record<string, string>) : {};
      this.#versions.set(path, found);
    }
    return found;
  }

  /** The peer's configurations that can run here. */
  installed(peer: PythonPeer): readonly Configuration[] {
    return peer.configurations.filter((configuration) => {
      if (configuration.blas === "openmp" && !existsSync(join(OPENMP_BLAS, "libopenblas.so.0"))) return false;
      const versions = this.versions(configuration.python);
      return versions !== undefined && peer.modules.every((module) => versions[module] !== undefined);
    });
  }

  start(peer: PythonPeer, configuration: Configuration): Contestant {
    const script = join(benchmarksRoot, "peers", peer.script);
    return new Contestant(pythonPath(configuration.python), [script, peer.impl], peerEnvironment(configuration));
  }

  describe(peer: PythonPeer, { python }: Configuration): string {
    const versions = this.versions(python) ?? {};
    return peer.modules.map((module) => `${module} ${versions[module]}`).join(", ");
  }
}

/** Runs a script of the peers' Python environment to its end; what it printed. @throws Error where it fails */
export function runPeer(script: string, args: readonly string[]): string {
  return execFileSync(pythonPath("pypi"), [script, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** Whether the modules of a peer in Node can be loaded, from the peers' folder or from the repository. */
export function nodePeerVersions({ modules }: NodePeer): string | undefined {
  const versions: string[] = [];
  for (const module of modules) {
    const version = nodeModuleVersion(module);
    if (version === undefined) return undefined;
    versions.push(`${module} ${version}`);
  }
  return versions.join(", ");
}

function nodeModuleVersion(module: string): string | undefined {
  for (const folder of [PEERS_FOLDER, benchmarksRoot]) {
    try {
      const manifest = createRequire(join(folder, "any.js")).resolve(`${module}/package.json`);
      return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
    } catch {
      // Not there; the next one may have it.
    }
  }
  return undefined;
}

function pythonPath(python: Configuration["python"]): string {
  if (python === "debian") return "/usr/bin/python3";
  return join(PEERS_FOLDER, "venv", "bin", "python");
}

function peerEnvironment({ threads, allocator, blas }: Configuration): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    OMP_NUM_THREADS: String(threads),
    OPENBLAS_NUM_THREADS: String(threads),
    MKL_NUM_THREADS: String(threads),
    PYTHONDONTWRITEBYTECODE: "1",
  };
  // Settings of one machine's BLAS that would handicap the peer's own choice of kernels.
  delete environment.OPENBLAS_CORETYPE;
  delete environment.OPENBLAS_L2_SIZE;
  if (allocator === "tuned") environment.GLIBC_TUNABLES = TUNED_MALLOC;
  if (blas === "openmp") environment.LD_LIBRARY_PATH = OPENMP_BLAS;
  return environment;
}
