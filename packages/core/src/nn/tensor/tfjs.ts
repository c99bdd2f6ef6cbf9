// tfjs registers no gradient by itself under Node; importing tfjs-layers does, for the one global registry that
// tfjs-core keeps. So everything in the workspace takes `tf` from here.
import "@tensorflow/tfjs-layers";
import { enableProdMode } from "@tensorflow/tfjs-core";

// Its banner would advertise another backend on the first tensor of every command.
enableProdMode();

export * as tf from "@tensorflow/tfjs-core";
