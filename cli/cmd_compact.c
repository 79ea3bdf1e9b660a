/* blaze compact: does at once what a mount does when it has time, and says how much is compact. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/compact.h"
#include "core/snapshot.h"

#include <inttypes.h>
#include <string.h>

struct compact_options {
	bool json;
	bool dry_run;
};

static const struct option_row compact_rows[] = {
	{"dry-run", 'n', OPTION_FLAG, NULL, "pack nothing, only say how much is packed",
	 offsetof(struct compact_options, dry_run), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct compact_options, json), 0},
};

static void say(struct out *out, const struct compact_stats *s, uint64_t before)
{
	uint64_t waiting = s->change_count - s->cut_count;

	out_printf(out,
		   "%" PRIu64 " of %" PRIu64 " changes are compact (%" PRIu64
		   " of them just now), in %" PRIu64 " bytes.\n",
		   s->folded_count, s->change_count, s->folded_count - before, s->strata_bytes);
	if (waiting)
		out_printf(out,
			   "%" PRIu64 " change%s wait until every device has them: blaze status says "
			   "which lacks some.\n",
			   waiting, show_plural(waiting));
	if (s->missing_count)
		out_printf(out,
			   "%" PRIu64
			   " change%s from before this device joined %s still on the way here.\n",
			   s->missing_count, show_plural(s->missing_count),
			   s->missing_count == 1 ? "is" : "are");
	if (s->silent_count)
		out_printf(out,
			   "%zu device%s not heard of for 90 days, and not waited for; what they wrote "
			   "will be merged when they come back.\n",
			   s->silent_count, s->silent_count == 1 ? " was" : "s were");
}

static int compact_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct compact_options o = {0};
	struct compact_stats stats;
	int code = CODE_OK;

	if (!options_parse(&cmd_compact.usage, &o, argc, argv, out, &code))
		return code;
	int r = o.dry_run ? 0 : db_seal(s->db);
	if (r == 0 && !o.dry_run)
		r = db_sync(s->db);
	if (r == 0)
		r = db_get_compact_stats(s->db, &stats);
	uint64_t before = r == 0 ? stats.folded_count : 0;
	int step = r < 0 ? r : !o.dry_run;
	while (step == 1 && !out_is_cancelled(out))
		step = db_compact_step(s->db);
	r = step < 0 ? step : db_get_compact_stats(s->db, &stats);
	if (r < 0)
		return out_error(
			out, CODE_FAILED,
			"compact: stopped, and nothing is lost: %s; try again when the disk works",
			strerror(-r));
	if (!o.json) {
		say(out, &stats, before);
		if (db_is_doubtful(s->db))
			out_warn(out,
				 "the history that came is not that of the state this device began with; "
				 "pair it again, with another device");
		return CODE_OK;
	}
	out_printf(out,
		   "{\"v\":1,\"changes\":%" PRIu64 ",\"acknowledged\":%" PRIu64
		   ",\"compact\":%" PRIu64 ",\"strata\":%" PRIu64 ",\"bytes\":%" PRIu64
		   ",\"silent\":%zu,\"missing\":%" PRIu64 ",\"doubtful\":%s}\n",
		   stats.change_count, stats.cut_count, stats.folded_count, stats.strata_count,
		   stats.strata_bytes, stats.silent_count, stats.missing_count,
		   db_is_doubtful(s->db) ? "true" : "false");
	return CODE_OK;
}

const struct command cmd_compact = {
	.usage = {.name = "compact",
		  .operands = "[NAME|DIR]",
		  .operands_max = 1,
		  .summary = "Packs old changes at once, which a mount does by and by.",
		  .rows = compact_rows,
		  .row_count = countof(compact_rows)},
	.run = client_run,
	.serve = compact_serve,
};
