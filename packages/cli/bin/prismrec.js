#!/usr/bin/env node
import { main } from "../dist/main.js";

const streams = [process.stdout, process.stderr];
// `main` tells of outputs that fail; what fails after it has nobody left to tell.
for (const stream of streams) stream.on("error", () => {});

// One line for people instead of Node's three: what is the matter, and what to do about it.
process.removeAllListeners("warning");
process.on("warning", ({ message, detail }) => {
  process.stderr.write(`! ${message.split("\n")[0]}${detail ? ` ${detail}` : ""}\n`);
});

process.exitCode = await main(process.argv);
// After an interruption text may be left that a reader has no room for; nobody waits for that.
if (streams.some(({ writableLength }) => writableLength > 0)) process.exit();
