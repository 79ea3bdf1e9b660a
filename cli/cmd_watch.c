/*
 * blaze watch: what happens, as it happens. One line an event: JSON, or for a person at a terminal words.
 *
 * The mount never waits for whoever reads this: core/watch.h drops what is not read in time, and it is said how much that was.
 */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/history.h"
#include "core/thread.h"
#include "core/watch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define TAKE_MAX 64
/* How often it is looked whether the client or the mount is gone. */
#define LOOK_MS 200

struct watch_options {
	bool json;
	bool changes;
};

static const struct option_row watch_rows[] = {
	{"json", 'j', OPTION_FLAG, NULL, "print JSON on a terminal, too",
	 offsetof(struct watch_options, json), 0},
	{"changes", 'c', OPTION_FLAG, NULL, "only changes, nothing of devices and relays",
	 offsetof(struct watch_options, changes), 0},
};

static const char *const kind_names[] = {
	[WATCH_CREATED] = "created",
	[WATCH_CHANGED] = "changed",
	[WATCH_DELETED] = "deleted",
	[WATCH_MOVED] = "moved",
	[WATCH_CONFLICT] = "conflict",
	[WATCH_HELD] = "held",
	[WATCH_CONNECTED] = "connected",
	[WATCH_DISCONNECTED] = "disconnected",
	[WATCH_REROUTED] = "rerouted",
	[WATCH_SYNCED] = "synced",
	[WATCH_ADMITTED] = "admitted",
	[WATCH_REMOVED] = "removed",
	[WATCH_ROLE] = "role",
	[WATCH_RELAY_OPEN] = "connected",
	[WATCH_RELAY_AWAY] = "disconnected",
	[WATCH_RELAY_DISTRUSTED] = "distrusted",
};

struct watching {
	struct service *s;
	struct out *out;
	struct watch_options o;
	const char *path; /* "" = everything */
	uint64_t actor;	  /* whose name is in device */
	struct device device;
};

static bool is_member(const struct watch_event *e)
{
	return e->kind >= WATCH_ADMITTED && e->kind <= WATCH_ROLE;
}

static bool is_relay(const struct watch_event *e)
{
	return e->kind >= WATCH_RELAY_OPEN;
}

/* ---- which ----------------------------------------------------------------------------------- */

static bool is_inside(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return n == 0 || (strncmp(path, dir, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

static bool is_wanted(const struct watching *w, const struct watch_event *e)
{
	if (!watch_is_change(e->kind))
		return !w->o.changes;
	/* What moves a directory above moves what is in it. */
	return is_inside(e->path, w->path) ||
	       (e->kind == WATCH_MOVED && is_inside(e->from, w->path)) ||
	       ((e->kind == WATCH_MOVED || e->kind == WATCH_DELETED || e->kind == WATCH_HELD) &&
		e->node == NODE_DIR &&
		(is_inside(w->path, e->kind == WATCH_MOVED ? e->from : e->path)));
}

/* One device after the other makes changes: its name is looked up once. */
static const char *name_of(struct watching *w, uint64_t actor)
{
	if (actor != w->actor) {
		w->actor = actor;
		if (db_member(w->s->db, actor, &w->device) < 0)
			w->device.name[0] = 0;
	}
	return w->device.name;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static void put_change_json(const struct watch_event *e, struct buf *line)
{
	static const char *const types[] = {
		[NODE_NONE] = "file", [NODE_DIR] = "directory", [NODE_RECORD] = "file", [NODE_SYMLINK] = "symlink"};
	char rev[HISTORY_REV_BYTES];

	show_json_text(line, "path", e->path);
	if (e->from[0])
		show_json_text(line, "from", e->from);
	show_json_text(line, "type", types[e->node]);
	show_json_text(line, "origin", e->local ? "local" : "remote");
	if (e->rev.lamport) {
		history_rev(e->rev, rev);
		show_json_text(line, "rev", rev);
	}
	if (e->kind == WATCH_CONFLICT)
		buf_printf(line, "\"values\":%" PRIu64 ",", e->count);
	if (e->kind == WATCH_HELD)
		buf_printf(line, "\"held\":%" PRIu64 ",\"of\":%" PRIu64 ",", e->count, e->all);
}

static void begin_json(struct buf *line, const char *event, uint64_t time_ms)
{
	buf_printf(line, "{\"v\":1,");
	show_json_text(line, "event", event);
	buf_printf(line, "\"time\":\"");
	show_rfc3339(line, time_ms);
	buf_printf(line, "\",");
}

static void end_json(struct buf *line)
{
	line->len--; /* the last comma */
	buf_printf(line, "}\n");
}

static void put_member_json(struct watching *w, const struct watch_event *e, struct buf *line)
{
	if (e->kind != WATCH_REMOVED)
		show_json_text(line, "role", show_role((unsigned)e->count));
	if (e->kind != WATCH_ROLE)
		show_json_text(line, "by", e->by ? name_of(w, e->by) : "");
}

static void put_json(struct watching *w, const struct watch_event *e, struct buf *line)
{
	begin_json(line, kind_names[e->kind], e->time_ms);
	buf_printf(line, "\"seq\":%" PRIu64 ",", e->seq);
	if (is_relay(e))
		show_json_text(line, "relay", e->text);
	else
		show_json_text(line, "device", name_of(w, e->actor));
	if (watch_is_change(e->kind))
		put_change_json(e, line);
	else if (is_member(e))
		put_member_json(w, e, line);
	else
		show_json_text(line, "via", peer_path_name(e->via));
	if (e->kind == WATCH_DISCONNECTED && e->text[0])
		show_json_text(line, "why", e->text);
	if (is_relay(e) && e->from[0])
		show_json_text(line, "why", e->from);
	end_json(line);
}

/* ---- in words -------------------------------------------------------------------------------- */

static void put_change_text(const struct watch_event *e, const char *device, struct buf *line)
{
	AUTO(free_ptr) char *path = show_text(e->path);
	AUTO(free_ptr) char *from = show_text(e->from);
	const char *slash = e->node == NODE_DIR ? "/" : "";

	if (e->kind == WATCH_MOVED)
		buf_printf(line, "%s%s to ", from, slash);
	buf_printf(line, "%s%s", path, slash);
	if (e->kind == WATCH_CREATED && from[0])
		buf_printf(line, " from %s%s", from, slash);
	if (e->kind == WATCH_HELD)
		buf_printf(line,
			   ": %" PRIu64 " of %" PRIu64
			   " records deleted, and still here. Next:  blaze deletes",
			   e->count, e->all);
	if (e->kind == WATCH_CONFLICT && e->count)
		buf_printf(line, ": %" PRIu64 " value%s to review. Next:  blaze conflicts",
			   e->count, show_plural(e->count));
	else if (e->kind == WATCH_CONFLICT)
		buf_printf(line, ": settled");
	if (!e->local)
		buf_printf(line, "  (%s)", device);
}

static void put_text(struct watching *w, const struct watch_event *e, struct buf *line)
{
	AUTO(free_ptr) char *device = show_text(is_relay(e) ? e->text : name_of(w, e->actor));
	AUTO(free_ptr) char *why = show_text(is_relay(e) ? e->from : e->text);
	AUTO(free_ptr) char *by = show_text(e->by ? name_of(w, e->by) : "");

	show_time(line, e->time_ms, e->time_ms + 60000);
	buf_printf(line, "  %-12s  ", kind_names[e->kind]);
	if (watch_is_change(e->kind))
		put_change_text(e, device, line);
	else if (is_member(e))
		buf_printf(line, "%s%s%s%s%s", device, e->kind == WATCH_REMOVED ? "" : ": ",
			   e->kind == WATCH_REMOVED ? "" : show_role((unsigned)e->count),
			   by[0] ? ", by " : "", by);
	else
		buf_printf(line, "%s%s (%s)%s%s",
			   is_relay(e) && e->via == PATH_RELAY ? "relay " : "", device,
			   peer_path_name(e->via), why[0] ? ": " : "", why);
	buf_u8(line, '\n');
}

/* ---- the stream ------------------------------------------------------------------------------ */

static bool in_words(const struct watching *w)
{
	return w->out->tty && !w->o.json;
}

static void say_event(struct watching *w, const struct watch_event *e)
{
	AUTO(buf_fini) struct buf line = {0};

	if (!is_wanted(w, e))
		return;
	if (in_words(w))
		put_text(w, e, &line);
	else
		put_json(w, e, &line);
	out_text(w->out, buf_slice(&line));
}

static void say_gap(struct watching *w, const struct watch_gap *gap)
{
	AUTO(buf_fini) struct buf line = {0};
	AUTO(buf_fini) struct buf since = {0};

	show_rfc3339(&since, gap->since_ms);
	if (in_words(w)) {
		buf_printf(&line,
			   "… %" PRIu64 " event%s dropped: they came faster than they were read. "
			   "Next:  blaze log --since %s\n",
			   gap->count, gap->count == 1 ? " was" : "s were", buf_str(&since));
	} else {
		begin_json(&line, "dropped", show_now_ms());
		buf_printf(&line, "\"count\":%" PRIu64 ",", gap->count);
		show_json_text(&line, "since", buf_str(&since));
		AUTO(free_ptr) char *see = xasprintf("blaze log --since %s", buf_str(&since));
		show_json_text(&line, "see", see);
		end_json(&line);
	}
	out_text(w->out, buf_slice(&line));
}

static void say_start(struct watching *w)
{
	AUTO(buf_fini) struct buf line = {0};

	if (in_words(w)) {
		AUTO(free_ptr) char *path = show_text(w->path);

		buf_printf(&line, "Watching %s%s%s. Stop with Ctrl-C.\n", w->s->name,
			   path[0] ? ":" : "", path);
	} else {
		begin_json(&line, "watching", show_now_ms());
		show_json_text(&line, "database", w->s->name);
		show_json_text(&line, "path", w->path);
		end_json(&line);
	}
	out_text(w->out, buf_slice(&line));
	out_flush(w->out);
}

static void follow(struct watching *w, struct watcher *at)
{
	struct watch_event events[TAKE_MAX];
	struct watch_gap gap;

	while (!out_is_cancelled(w->out)) {
		if (!out_has_room(w->out, LOOK_MS))
			continue;
		size_t n = watch_take(db_watch(w->s->db), at, events, countof(events), &gap,
				      monotonic_ms() + LOOK_MS);
		if (gap.count)
			say_gap(w, &gap);
		for (size_t i = 0; i < n; i++) {
			say_event(w, &events[i]);
			watch_event_fini(&events[i]);
		}
		if (n || gap.count)
			out_flush(w->out);
	}
}

/* Whoever does not read must not hold up the end of the mount. */
static int end(struct watching *w)
{
	AUTO(buf_fini) struct buf line = {0};
	struct out *out = w->out;

	if (out->gone)
		return CODE_OK;
	if (!out_has_room(out, 0)) {
		out->gone = true;
		return CODE_FAILED;
	}
	if (!in_words(w)) {
		begin_json(&line, "end", show_now_ms());
		show_json_text(&line, "why", "unmounted");
		end_json(&line);
		out_text(out, buf_slice(&line));
	}
	return out_error(out, CODE_ATTENTION, "watch: %s was unmounted", w->s->name);
}

static int watch_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct watching w = {.s = s, .out = out, .path = ""};
	struct watcher at;
	int code = CODE_OK;
	int first = options_parse(&cmd_watch.usage, &w.o, argc, argv, out, &code);

	if (!first)
		return code;
	if (first < argc)
		w.path = argv[first];
	watch_join(db_watch(s->db), &at);
	say_start(&w);
	follow(&w, &at);
	watch_leave(db_watch(s->db), &at);
	return end(&w);
}

static int watch_run(const struct command *c, struct out *out, int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN); /* `| head` has what it wanted: that is no failure */
	out->follows = true;
	return client_run(c, out, argc, argv);
}

const struct command cmd_watch = {
	.usage = {.name = "watch",
		  .operands = "[PATH|NAME]",
		  .operands_max = 1,
		  .summary = "Prints what happens as it happens, one line an event.",
		  .notes = "PATH is a file or directory in a mount: of changes, only those to it and what is "
			   "in it are told. The lines\nare JSON unless a terminal reads them; the manual "
			   "lists the events. It ends with 3 when the\ndatabase is unmounted.\n",
		  .rows = watch_rows,
		  .row_count = countof(watch_rows)},
	.run = watch_run,
	.serve = watch_serve,
	.needs = COMMAND_NEEDS_MOUNT,
	.operand_is_path = true,
	.operand_is_either = true,
};
