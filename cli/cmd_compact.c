/* blaze compact: does at once what a mount does when it has time, and says how much is compact. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/collect.h"
#include "core/compact.h"
#include "core/snapshot.h"
#include "core/when.h"
#include "fs/bulk.h"

#include <inttypes.h>
#include <string.h>

struct compact_options {
	bool json;
	bool dry_run;
	const char *before;
};

static const struct option_row compact_rows[] = {
	{"drop-before", 0, OPTION_TEXT, "WHEN",
	 "give up, on this device, what large files were before WHEN, such as 90d-ago",
	 offsetof(struct compact_options, before), 0},
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

/** How long an import that is under way is waited for, ms. */
#define IMPORT_WAIT_MS 10000

static void say_collected(struct out *out, const struct collect_stats *c, bool dry_run)
{
	if (c->garbage_count)
		out_printf(out, "%" PRIu64 " pieces of large files (%" PRIu64 " bytes) %s.\n",
			   c->garbage_count, c->garbage_bytes,
			   dry_run ? "are of no use and would be removed"
				   : "were of no use and are removed");
	if (c->version_count)
		out_printf(out, "%" PRIu64 " old version%s of large files %s given up.\n",
			   c->version_count, show_plural(c->version_count),
			   dry_run		   ? "would be"
			   : c->version_count == 1 ? "is"
						   : "are");
}

static bool collect_is_cancelled(void *ctx)
{
	return out_is_cancelled(ctx);
}

static int collect(struct service *s, struct out *out, const struct compact_options *o,
		   uint64_t before_ms, struct collect_stats *ret)
{
	const struct collect_options options = {.stored = bulk_stored,
						.before_ms = before_ms,
						.dry_run = o->dry_run,
						.is_cancelled = collect_is_cancelled,
						.ctx = out};
	uint64_t deadline = monotonic_ms() + IMPORT_WAIT_MS;
	int r = db_collect(s->db, &options, ret);

	while (r == -EAGAIN && monotonic_ms() < deadline && !out_is_cancelled(out)) {
		uint64_t seen = db_generation(s->db);

		(void)db_wait_change(s->db, seen, monotonic_ms() + 100);
		r = db_collect(s->db, &options, ret);
	}
	if (r == -EAGAIN && !o->json)
		out_printf(out,
			   "Large files are being saved at the moment; what is of no use of them stays "
			   "until the next time.\n");
	return r == -EAGAIN || r == -ECANCELED ? 0 : r;
}

static int compact_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct compact_options o = {0};
	struct compact_stats stats;
	struct collect_stats collected = {0};
	struct why why = {0};
	uint64_t before_ms = 0;
	int code = CODE_OK;

	if (!options_parse(&cmd_compact.usage, &o, argc, argv, out, &code))
		return code;
	if (o.before && when_parse(o.before, db_now_ms(s->db), &before_ms, &why) < 0)
		return out_error(out, CODE_USAGE, "--drop-before: %s", why.text);
	int r = o.dry_run ? 0 : db_seal(s->db);
	if (r == 0 && !o.dry_run)
		r = db_sync(s->db);
	if (r == 0)
		r = db_get_compact_stats(s->db, &stats);
	uint64_t before = r == 0 ? stats.folded_count : 0;
	int step = r < 0 ? r : !o.dry_run;
	while (step == 1 && !out_is_cancelled(out))
		step = db_compact_step(s->db);
	if (step == 0 && !o.dry_run)
		step = db_pack_texts(s->db);
	r = step < 0 ? step : collect(s, out, &o, before_ms, &collected);
	if (r == 0)
		r = db_get_compact_stats(s->db, &stats);
	if (r < 0)
		return out_error(
			out, CODE_FAILED,
			"compact: stopped, and nothing is lost: %s; try again when the disk works",
			strerror(-r));
	if (!o.json) {
		say(out, &stats, before);
		say_collected(out, &collected, o.dry_run);
		if (db_is_doubtful(s->db))
			out_warn(out,
				 "the history that came is not that of the state this device began with; "
				 "pair it again, with another device");
		return CODE_OK;
	}
	out_printf(out,
		   "{\"v\":1,\"changes\":%" PRIu64 ",\"acknowledged\":%" PRIu64
		   ",\"compact\":%" PRIu64 ",\"strata\":%" PRIu64 ",\"bytes\":%" PRIu64
		   ",\"silent\":%zu,\"missing\":%" PRIu64 ",\"doubtful\":%s"
		   ",\"unused_pieces\":%" PRIu64 ",\"unused_bytes\":%" PRIu64
		   ",\"dropped_versions\":%" PRIu64 ",\"freed_bytes\":%" PRIu64 "}\n",
		   stats.change_count, stats.cut_count, stats.folded_count, stats.strata_count,
		   stats.strata_bytes, stats.silent_count, stats.missing_count,
		   db_is_doubtful(s->db) ? "true" : "false", collected.garbage_count,
		   collected.garbage_bytes, collected.version_count, collected.freed_bytes);
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
