// One line that changes when the compiler does: part of the native build's cache key.
import { has, run } from "./lib/run.mjs";

const parts = [process.platform, process.arch, process.env.PRISMREC_REQUIRE_NATIVE ?? ""];
for (const command of ["cmake", process.env.CXX ?? "c++"]) {
  parts.push(
    (await has(command)) ? ((await run(command, ["--version"])).output.split("\n")[0] ?? "") : `no ${command}`,
  );
}
process.stdout.write(`${parts.join(" | ")}\n`);
