// Installs what the benchmarks compare with into benchmarks/.peers, and Debian's packages where it may. What cannot be had
// is said and left out: the suite then has fewer rows.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const HELP = `npm run bench:peers [-- --no-debian]

Installs into benchmarks/.peers: a Python environment with numpy, scipy, torch, faiss-cpu, usearch and submodlib-py, the
servers that the service is held against (Cornac behind gunicorn, faiss behind uvicorn), and tfjs with its WebAssembly
backend. With Debian's apt also python3-torch, python3-faiss, python3-numpy and python3-scipy
(as root) and an OpenBLAS built for OpenMP (unpacked beside the rest, never installed). About 6 GB and some minutes.
`;

const peers = fileURLToPath(new URL(".peers", import.meta.url));
const venv = join(peers, "venv");
/** Each on its own: one that has no build for this machine does not take the others with it. */
const PYPI = [
  ...["numpy", "scipy", "torch", "faiss-cpu", "usearch", "submodlib-py"],
  ...["cornac", "flask", "gunicorn", "fastapi", "uvicorn", "uvloop", "httptools"],
];
const NPM = [
  "@tensorflow/tfjs-core@4.22.0",
  "@tensorflow/tfjs-backend-cpu@4.22.0",
  "@tensorflow/tfjs-backend-wasm@4.22.0",
];
const DEBIAN = ["python3-numpy", "python3-scipy", "python3-torch", "python3-faiss"];

/** @param {string} line */
const say = (line) => process.stderr.write(`${line}\n`);

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {string} [cwd]
 * @returns {boolean} whether it went well
 */
function run(command, args, cwd) {
  const { status, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (status === 0) return true;
  say(`  ${command} ${args.join(" ")}: ${error?.message ?? stderr.trim().split("\n").at(-1)}`);
  return false;
}

function installPython() {
  if (!existsSync(join(venv, "bin", "python")) && !run("python3", ["-m", "venv", venv])) {
    say("notice: no Python environment (on Debian: apt-get install python3-venv), so no peers from PyPI");
    return;
  }
  for (const name of PYPI) {
    say(`PyPI: ${name} …`);
    if (!run(join(venv, "bin", "python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", name])) {
      say(`notice: ${name} is left out`);
    }
  }
}

function installNode() {
  say("npm: tfjs with its WebAssembly backend …");
  writeFileSync(join(peers, "package.json"), '{ "private": true }\n');
  if (!run("npm", ["install", "--no-audit", "--no-fund", "--no-workspaces", ...NPM], peers)) {
    say("notice: tfjs' WebAssembly backend is left out");
  }
}

function installDebian() {
  if (!existsSync("/usr/bin/apt-get")) {
    say("notice: no apt here, so Debian's builds are left out");
    return;
  }
  if (process.getuid?.() === 0) {
    say(`Debian: ${DEBIAN.join(", ")} …`);
    run("apt-get", ["update", "-qq"]);
    const installed = run("apt-get", ["install", "-y", "--no-install-recommends", ...DEBIAN]);
    if (!installed) say("notice: Debian's builds are left out");
  } else {
    say(`notice: not root, so Debian's builds are as they are: apt-get install ${DEBIAN.join(" ")}`);
  }
  say("Debian: libopenblas0-openmp, unpacked …");
  const folder = mkdtempSync(join(tmpdir(), "prismrec-openblas-"));
  try {
    if (!run("apt-get", ["download", "libopenblas0-openmp"], folder)) return;
    const archive = readdirSync(folder).find((name) => name.endsWith(".deb"));
    if (archive === undefined || !run("dpkg", ["-x", archive, "."], folder)) return;
    const libraries = readdirSync(join(folder, "usr", "lib"));
    const target = join(peers, "openblas-openmp");
    rmSync(target, { recursive: true, force: true });
    cpSync(join(folder, "usr", "lib", libraries[0] ?? "", "openblas-openmp"), target, {
      recursive: true,
      verbatimSymlinks: true,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv.includes("--help")) process.stdout.write(HELP);
else {
  mkdirSync(peers, { recursive: true });
  installPython();
  installNode();
  if (!process.argv.includes("--no-debian")) installDebian();
  say("done: npm run bench -- gemm --quick shows which of them run");
}
