import { modelOf } from "../answer.js";
import { problemSchema } from "../problems.js";
import { liveAnswer, readyAnswer } from "../schemas.js";
import type { App, Context } from "../service.js";

/** Whether the process is there, and whether it answers. */
export function addHealth(app: App, { holder }: Context): void {
  app.get(
    "/health/live",
    { schema: { summary: "The process is there", security: [], response: { 200: liveAnswer } } },
    async () => ({ status: "live" as const }),
  );
  app.get(
    "/health/ready",
    {
      schema: {
        summary: "The model is open and has answered once",
        security: [],
        response: { 200: readyAnswer, 503: problemSchema },
      },
    },
    () =>
      holder.use(async ({ first: served }) => ({
        status: "ready" as const,
        model: modelOf(served),
        items: served.items,
        users: served.users,
      })),
  );
}
