// tfjs registers no gradient by itself under Node; importing tfjs-layers does, for the one global registry that
// tfjs-core keeps. So everything in the workspace takes `tf` from here.
import "@tensorflow/tfjs-layers";

export * as tf from "@tensorflow/tfjs-core";
