// Checks that the addon and its TypeScript declaration agree: every function that native/binding.d.ts declares in
// NativeBinding is registered by a binding.cc under that name with as many arguments, is exported by the built addon, and
// the other way round; an asynchronous call answers with a promise and its Sync twin does not. Exits 1 with a list of
// differences.
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { loadBinding } from "@prismrec/native";
import { root } from "./lib/run.mjs";

/** @typedef {{ parameters: number, returns: string }} Signature */

/** Text without comments, so that a word in one is not taken for code. @param {string} text */
const withoutComments = (text) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");

/** Splits at `separator` outside of brackets. @param {string} text @param {string} separator */
function splitOutside(text, separator) {
  const parts = [""];
  let depth = 0;
  for (const [i, char] of [...text].entries()) {
    if ("([{<".includes(char)) depth++;
    else if (")]}".includes(char) || (char === ">" && text[i - 1] !== "=")) depth--;
    if (char === separator && depth === 0) parts.push("");
    else parts[parts.length - 1] += char;
  }
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}

/** The members of `interface NativeBinding`. @param {string} text */
function declaredFunctions(text) {
  const head = "export interface NativeBinding {";
  const from = text.indexOf(head);
  if (from < 0) throw new Error("native/binding.d.ts has no interface NativeBinding");
  let end = from + head.length;
  for (let depth = 1; depth > 0; end++) depth += text[end] === "{" ? 1 : text[end] === "}" ? -1 : 0;
  /** @type {Map<string, Signature>} */
  const functions = new Map();
  for (const member of splitOutside(text.slice(from + head.length, end - 1), ";")) {
    const match = /^(\w+)\(([\s\S]*)\):\s*([\s\S]+)$/.exec(member);
    if (match === null) throw new Error(`NativeBinding has a member that is no method: ${member}`);
    const [, name = "", parameters = "", returns = ""] = match;
    functions.set(name, { parameters: splitOutside(parameters, ",").length, returns });
  }
  return functions;
}

/** What the C++ sources register: `op` is an argument object with an asynchronous and a synchronous form. */
async function registeredFunctions() {
  const src = join(root, "native/src");
  /** @type {Map<string, { file: string, op: boolean, parameters: number | undefined }>} */
  const functions = new Map();
  for (const entry of await readdir(src, { recursive: true })) {
    if (!/(^|\/)(binding|addon)\.cc$/.test(entry)) continue;
    const file = relative(root, join(src, entry));
    const text = withoutComments(await readFile(join(src, entry), "utf8"));
    /** @type {Map<string, number>} positional functions state their own number of arguments */
    const arity = new Map();
    for (const [, count = "", name = ""] of text.matchAll(/\bArguments<(\d+)>\s+\w+\(\s*\w+,\s*\w+,\s*"(\w+)"/g)) {
      arity.set(name, Number(count));
    }
    for (const [, kind, name = ""] of text.matchAll(/\bExport(\w*)(?:<[^;]*?>)?\(\s*\w+,\s*\w+,\s*"(\w+)"/g)) {
      functions.set(name, { file, op: kind === "Op", parameters: kind === "Op" ? 1 : arity.get(name) });
      if (kind === "Op") functions.set(`${name}Sync`, { file, op: true, parameters: 1 });
    }
  }
  return functions;
}

const declared = declaredFunctions(withoutComments(await readFile(join(root, "native/binding.d.ts"), "utf8")));
const registered = await registeredFunctions();
/** @type {string[]} */
const differences = [];

for (const [name, { file }] of registered) {
  if (!declared.has(name)) differences.push(`${name}: registered in ${file}, missing in native/binding.d.ts`);
}
for (const [name, { parameters, returns }] of declared) {
  const source = registered.get(name);
  if (source === undefined) {
    differences.push(`${name}: declared in native/binding.d.ts, registered in no binding.cc`);
    continue;
  }
  if (source.parameters !== undefined && source.parameters !== parameters) {
    differences.push(`${name}: takes ${source.parameters} arguments in ${source.file}, declared with ${parameters}`);
  }
  if (!source.op) continue;
  const promised = returns.startsWith("Promise<");
  if (promised === name.endsWith("Sync")) {
    differences.push(`${name}: ${promised ? "is synchronous" : "answers with a promise"}, declared as ${returns}`);
  }
}

/** @type {Record<string, unknown>} */
let exported = {};
try {
  exported = { ...loadBinding() };
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
}
for (const [name, value] of Object.entries(exported)) {
  if (typeof value !== "function") differences.push(`${name}: exported as ${typeof value}, not as a function`);
  if (!declared.has(name)) differences.push(`${name}: exported by the addon, missing in native/binding.d.ts`);
}
for (const name of declared.keys()) {
  if (!(name in exported)) differences.push(`${name}: declared in native/binding.d.ts, not exported by the addon`);
}

if (differences.length > 0) {
  process.stderr.write(
    `the addon and native/binding.d.ts differ:\n${differences.map((line) => `  ${line}\n`).join("")}`,
  );
  process.exitCode = 1;
} else {
  process.stdout.write(`${declared.size} native functions declared, registered and exported alike\n`);
}
