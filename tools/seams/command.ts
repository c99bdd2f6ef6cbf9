import { type AddCommand, withSession } from "prismrec/command-line";

/** `prismrec-with-more count RUN`: how many users and items a run has. */
export const addCount: AddCommand = (program, io) => {
  program
    .command("count")
    .summary("count the users and items of a run")
    .description("Counts the users and the items that the import of a run has kept.")
    .argument("<run>", "run directory")
    .action((dir, _options, own) =>
      withSession(io, own, async (session) => {
        await using run = await session.read(dir);
        const { log, catalog } = (await run.open("import")).dataset;
        const counts = { users: log.userCount, items: catalog.size };
        if (session.ui.json) session.ui.resultJson(counts);
        else session.ui.result(`${counts.users} users, ${counts.items} items`);
      }),
    );
};
