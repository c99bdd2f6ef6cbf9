export * from "./id.js";
export * from "./text.js";
export * from "./tower.js";
