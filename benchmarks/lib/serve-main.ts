// The service in a process of its own, for the proofs: fork with a `ServiceRun` as JSON; it sends its address, reloads on the
// message "reload" and answers it, and ends when the parent disconnects.
import { once } from "node:events";
import { Service, servedOf } from "@prismrec/service";
import { openModel, type ServiceRun, USERS } from "./serving.js";

const { items, states } = JSON.parse(process.argv[2] ?? "{}") as ServiceRun;
const service = await Service.create({
  open: async () => {
    const { recommender, model } = openModel(items, states);
    const close = async (): Promise<void> => {
      recommender[Symbol.dispose]();
      model.dispose();
    };
    return servedOf(recommender, { model: "ldmi", hash: "serving", items, users: USERS, close });
  },
  settings: { ratePerMinute: 0 },
});
await service.load();
process.on("message", () => {
  service.load().then(
    () => process.send?.("reloaded"),
    (error: unknown) => process.send?.(String(error)),
  );
});
process.send?.(await service.listen({ port: 0 }));
await once(process, "disconnect");
await service.close();
