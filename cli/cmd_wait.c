/* blaze wait: blocks until every change made here is on the other devices. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "cli/wait.h"
#include "core/thread.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct wait_options {
	int64_t timeout_ms;
	bool json;
};

static const struct option_row wait_rows[] = {
	{"timeout", 't', OPTION_DURATION, "T", "give up after T, such as 30s or 5m, with exit code 4",
	 offsetof(struct wait_options, timeout_ms), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct wait_options, json), 0},
};

/* "212 changes are not yet on ana-desk (offline: Connection refused)" */
static void say_missing(struct service *s, struct buf *text)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->db, &peers);
	size_t said = 0;

	for (size_t i = 0; i < n && said < 3; i++) {
		uint64_t behind = db_peer_behind(s->db, peers[i].actor) +
				  (s->vfs ? vfs_held_count(s->vfs) : 0);
		struct peer_status p = {.state = PEER_OFFLINE};

		if (behind == 0)
			continue;
		(void)status_get(s->status, peers[i].actor, &p);
		AUTO(free_ptr) char *name = show_text(peers[i].name);
		buf_printf(text, "%s%" PRIu64 " change%s %s not yet on %s (%s)", said++ ? ", " : "",
			   behind, show_plural(behind), behind == 1 ? "is" : "are", name,
			   peer_state_name(p.state));
	}
	if (!said)
		buf_printf(text, "the last changes are not confirmed yet");
	free(peers);
}

int wait_for_peers(struct service *s, struct out *out, const char *command, int64_t timeout_ms,
		   uint64_t *ret_count)
{
	uint64_t deadline =
		timeout_ms == INT64_MAX ? UINT64_MAX : monotonic_ms() + (uint64_t)timeout_ms;
	AUTO(buf_fini) struct buf text = {0};
	struct db_stats stats;

	db_get_stats(s->db, &stats);
	if (stats.peer_count == 0)
		return out_error(out, CODE_ATTENTION,
				 "%s: no other device is paired yet: add one with blaze pair",
				 command);
	int r = service_wait_acked(s, out, deadline, ret_count);
	if (r == -ECANCELED)
		return out_error(out, CODE_FAILED, "%s: the database was unmounted meanwhile",
				 command);
	if (r < 0) {
		say_missing(s, &text);
		buf_printf(&text, ": that goes on by itself when the devices reach each other");
		return out_error(out, CODE_TIMEOUT, "%s: timed out: %s", command, buf_str(&text));
	}
	return CODE_OK;
}

static int wait_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct wait_options o = {.timeout_ms = INT64_MAX};
	AUTO(buf_fini) struct buf text = {0};
	uint64_t start = monotonic_ms();
	uint64_t n = service_change_count(s);
	int code = CODE_OK;

	if (!options_parse(&cmd_wait.usage, &o, argc, argv, out, &code))
		return code;
	code = wait_for_peers(s, out, "wait", o.timeout_ms, &n);
	uint64_t waited = monotonic_ms() - start;

	if (o.json) {
		out_printf(out,
			   "{\"v\":1,\"synced\":%s,\"changes\":%" PRIu64 ",\"unsent\":%" PRIu64
			   ",\"waited_ms\":%" PRIu64 "}\n",
			   code == CODE_OK ? "true" : "false", n,
			   code == CODE_OK ? 0 : service_unsent(s), waited);
		return code;
	}
	if (code != CODE_OK)
		return code;
	if (n == 0) {
		out_printf(out, "Nothing to wait for: no changes were made on this device yet.\n");
		return CODE_OK;
	}
	if (n == 1)
		buf_printf(&text, "The only change is on ");
	else
		buf_printf(&text, "All %" PRIu64 " changes are on ", n);
	service_peer_names(s, false, &text);
	buf_printf(&text, " (waited ");
	show_duration(&text, waited);
	out_printf(out, "%s).\n", buf_str(&text));
	return CODE_OK;
}

const struct command cmd_wait = {
	.usage = {.name = "wait",
		  .operands = "[NAME|DIR]",
		  .operands_max = 1,
		  .summary = "Waits until every change made here is on the other devices.",
		  .rows = wait_rows,
		  .row_count = countof(wait_rows)},
	.run = client_run,
	.serve = wait_serve,
	.needs = COMMAND_NEEDS_FILES | COMMAND_NEEDS_NET,
};
