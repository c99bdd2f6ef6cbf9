import { createRequire } from "node:module";
import { enableProdMode } from "@tensorflow/tfjs-core";

// tfjs registers no gradient by itself under Node; loading tfjs-layers does, for the one global registry that tfjs-core
// keeps. So everything in the workspace takes `tf` from here. Its types, which a strict program refuses, stay out of ours.
createRequire(import.meta.url)("@tensorflow/tfjs-layers");

// Its banner would advertise another backend on the first tensor of every command.
enableProdMode();

export * as tf from "@tensorflow/tfjs-core";
