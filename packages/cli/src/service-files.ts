import { join } from "node:path";

/** Where in a run directory the service keeps its journal of events, unless told otherwise. */
export const EVENTS_FILE = join("service", "events.jsonl");
