import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Lineup } from "./variants.js";

/** Seconds: from a list out of the index to the longest request that is waited for. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The label of a variant; none where there are no variants. */
export const labelOf = (variant: string | null): { readonly variant?: string } => (variant === null ? {} : { variant });

/** What Prometheus reads, in a registry of the service's own. */
export class Metrics {
  readonly registry = new Registry();
  /** Requests by what became of them; status 499: the client went away before the answer. */
  readonly requests = new Histogram({
    name: "prismrec_http_request_duration_seconds",
    help: "Time from a request to the end of its answer, by route, method and status",
    labelNames: ["method", "route", "status"],
    buckets: BUCKETS,
    registers: [this.registry],
  });
  readonly lists = new Counter({
    name: "prismrec_lists_total",
    help: "Lists given, by whether the model or popularity made them, and by variant",
    labelNames: ["made_by", "variant"],
    registers: [this.registry],
  });
  readonly listSeconds = new Histogram({
    name: "prismrec_list_duration_seconds",
    help: "Time that the recommender takes for a list, by variant",
    labelNames: ["variant"],
    buckets: BUCKETS,
    registers: [this.registry],
  });
  readonly events = new Counter({
    name: "prismrec_events_total",
    help: "Events received, by what became of them",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly reloads = new Counter({
    name: "prismrec_reloads_total",
    help: "Reloads, by outcome",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly unlogged = new Counter({
    name: "prismrec_exposures_unlogged_total",
    help: "Lists that were given and could not be written to the exposure log",
    registers: [this.registry],
  });
  readonly #model = new Gauge({
    name: "prismrec_model_info",
    help: "1 for the model that answers, and that of each variant",
    labelNames: ["model", "hash", "variant"],
    registers: [this.registry],
  });

  constructor(waiting: () => number) {
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: "prismrec_requests_waiting",
      help: "Requests that wait for their turn",
      registers: [this.registry],
      collect() {
        this.set(waiting());
      },
    });
  }

  lineupIs({ all }: Lineup): void {
    this.#model.reset();
    for (const { name, served } of all)
      this.#model.set({ model: served.model, hash: served.hash, ...labelOf(name) }, 1);
  }
}
