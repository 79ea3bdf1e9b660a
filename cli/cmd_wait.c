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

/* ---- progress: one line on a terminal, written over and over, and gone in the end ------------------- */

#define PROGRESS_MS 200
/* Who waits for less than this need not see how. */
#define PROGRESS_AFTER_MS 400

struct progress {
	struct service *s;
	struct out *out;
	uint64_t start_ms;
	uint64_t said_ms; /* 0 = never */
	uint64_t most;	  /* changes that were left at once */
	uint64_t up_bytes;
};

/* On the wire, to all. */
static uint64_t bytes_up(struct service *s)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->db, &peers);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		struct peer_status p = {0};

		if (status_get(s->status, peers[i].actor, &p))
			sum += p.up_bytes;
	}
	free(peers);
	return sum;
}

/* "device-b direct, phone offline": who lacks something, and how it is reached. */
static void say_ways(struct service *s, struct buf *line)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->db, &peers);
	size_t said = 0;

	for (size_t i = 0; i < n && said < 3; i++) {
		struct peer_status p = {.state = PEER_OFFLINE};

		if (db_peer_behind(s->db, peers[i].actor) == 0)
			continue;
		(void)status_get(s->status, peers[i].actor, &p);
		AUTO(free_ptr) char *name = show_text(peers[i].name);
		buf_printf(line, "%s%s %s", said++ ? ", " : " to ", name,
			   p.path != PATH_NONE ? peer_path_name(p.path) : peer_state_name(p.state));
	}
	free(peers);
}

static void say_progress(void *ctx)
{
	struct progress *p = ctx;
	AUTO(buf_fini) struct buf line = {0};
	uint64_t now = monotonic_ms();
	struct db_stats stats;

	if (now < p->start_ms + PROGRESS_AFTER_MS || now < p->said_ms + PROGRESS_MS ||
	    !out_has_room(p->out, 0))
		return;
	p->said_ms = now;
	db_get_stats(p->s->db, &stats);
	uint64_t left = stats.pending_count + (p->s->vfs ? vfs_held_count(p->s->vfs) : 0);
	uint64_t up = bytes_up(p->s);
	uint64_t elapsed = now - p->start_ms;
	p->most = left > p->most ? left : p->most;
	buf_printf(&line, "\r%" PRIu64 " change%s", left, show_plural(left));
	if (stats.pending_bytes) {
		buf_printf(&line, " (");
		show_size(&line, stats.pending_bytes);
		buf_printf(&line, ")");
	}
	buf_printf(&line, " left");
	say_ways(p->s, &line);
	if (p->most > left)
		buf_printf(&line, ", %" PRIu64 " a second", (p->most - left) * 1000 / elapsed);
	if (up > p->up_bytes) {
		buf_printf(&line, ", ");
		show_size(&line, (up - p->up_bytes) * 1000 / elapsed);
		buf_printf(&line, "/s");
	}
	out_printf(p->out, "%s\033[K", buf_str(&line));
	out_flush(p->out);
}

static void end_progress(const struct progress *p)
{
	if (p->said_ms)
		out_printf(p->out, "\r\033[K");
}

int wait_for_peers(struct service *s, struct out *out, const char *command, int64_t timeout_ms,
		   bool quiet, uint64_t *ret_count)
{
	struct progress p = {.s = s, .out = out, .start_ms = monotonic_ms()};
	const struct service_progress progress = {.tick = say_progress, .ctx = &p};

	uint64_t deadline =
		timeout_ms == INT64_MAX ? UINT64_MAX : monotonic_ms() + (uint64_t)timeout_ms;
	AUTO(buf_fini) struct buf text = {0};
	struct db_stats stats;

	db_get_stats(s->db, &stats);
	if (stats.peer_count == 0)
		return out_error(out, CODE_ATTENTION,
				 "%s: no other device is paired yet: add one with blaze pair",
				 command);
	p.up_bytes = bytes_up(s);
	int r = service_wait_acked(s, out, deadline, out->tty && !quiet ? &progress : NULL,
				   ret_count);
	end_progress(&p);
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
	code = wait_for_peers(s, out, "wait", o.timeout_ms, o.json, &n);
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
