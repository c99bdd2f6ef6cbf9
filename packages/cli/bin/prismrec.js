#!/usr/bin/env node
import { main } from "../dist/main.js";

// One line for people instead of Node's three: what is the matter, and what to do about it.
process.removeAllListeners("warning");
process.on("warning", ({ message, detail }) => {
  process.stderr.write(`! ${message.split("\n")[0]}${detail ? ` ${detail}` : ""}\n`);
});

process.exitCode = await main(process.argv);
