export * from "./events.js";
export * from "./import.js";
export * from "./spool-inputs.js";
export * from "./tables/duckdb.js";
export * from "./tables/open-table.js";
export * from "./tables/spool.js";
export * from "./tables/table.js";
export * from "./write-table.js";
