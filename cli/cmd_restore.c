/* blaze restore: a file or directory as it was, as new changes. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/restore.h"
#include "core/snapshot.h"
#include "core/when.h"

#include <stdlib.h>
#include <string.h>

struct restore_options {
	bool json;
	bool incomplete;
	const char *at;
	const char *rev;
};

static const struct option_row restore_rows[] = {
	{"at", 'a', OPTION_TEXT, "TIME", "as it was at that time: 14:00, 2026-11-23, 5min-ago, …",
	 offsetof(struct restore_options, at), 0},
	{"rev", 'r', OPTION_TEXT, "REV", "a file as that change left it; see blaze log",
	 offsetof(struct restore_options, rev), 0},
	{"incomplete", 'i', OPTION_FLAG, NULL,
	 "also while history from before this device joined is fetched",
	 offsetof(struct restore_options, incomplete), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct restore_options, json), 0},
};

static void tell(struct out *out, const char *path, const struct restored *r)
{
	AUTO(free_ptr) char *shown = show_text(*path ? path : ".");

	if (r->changes == 0 && r->blocked + r->missing == 0) {
		out_printf(out, "%s is as it was: nothing had to be changed.\n", shown);
	} else if (r->changes) {
		out_printf(out, "Restored %s: %llu file%s, as new changes (undo: blaze undo", shown,
			   (unsigned long long)r->records, show_plural(r->records));
		if (r->changes > 1)
			out_printf(out, " -n %llu", (unsigned long long)r->changes);
		out_printf(out, ").\n");
	}
	if (r->newer)
		out_printf(out, "%llu that came later stay%s.\n", (unsigned long long)r->newer,
			   r->newer == 1 ? "s" : "");
	if (r->blocked)
		out_printf(out,
			   "%llu not restored: something of another kind has the name now. Move it "
			   "away and try again.\n",
			   (unsigned long long)r->blocked);
	if (r->missing)
		out_printf(out,
			   "%llu not restored: the content is not on this device; it was given up (blaze "
			   "compact --drop-before), or replaced before it came here.\n",
			   (unsigned long long)r->missing);
}

static void tell_json(struct out *out, const struct restored *r)
{
	out_printf(out,
		   "{\"v\":1,\"restored\":%llu,\"same\":%llu,\"newer\":%llu,\"blocked\":%llu,"
		   "\"missing\":%llu,\"changes\":%llu}\n",
		   (unsigned long long)r->records, (unsigned long long)r->same,
		   (unsigned long long)r->newer, (unsigned long long)r->blocked,
		   (unsigned long long)r->missing, (unsigned long long)r->changes);
}

/* A file that had another name then: what it said, where it is now. */
static int restore_renamed(struct service *s, const char *path, uint64_t ms, struct restored *ret)
{
	struct history *h = NULL;
	struct id node;
	size_t last = SIZE_MAX;
	int r = db_resolve(s->db, path, true, &node);

	if (r == 0)
		r = history_open_whole(s->db, &node, &h);
	for (size_t i = 0; r == 0 && i < history_count(h); i++) {
		if (history_at(h, i)->time_ms <= ms)
			last = i;
	}
	if (r == 0 && (last == SIZE_MAX || history_kind(h) == NODE_DIR))
		r = -ENOENT;
	if (r == 0)
		r = restore_when(s->db, &node, h, ms, ret);
	history_close(h);
	return r;
}

/* What was there is worked out from the changes before, and some of them are not known here. */
static int refuse(struct out *out, uint64_t missing)
{
	return out_error(
		out, CODE_FAILED,
		"restore: history from before this device joined is still being fetched (%llu "
		"change%s), so what was there may be another than it seems: try again when it is "
		"here, see blaze compact --dry-run, or say --incomplete",
		(unsigned long long)missing, show_plural(missing));
}

static int at_time(struct service *s, struct out *out, const char *path, const char *at,
		   struct restored *ret)
{
	struct why why = {""};
	uint64_t ms = 0;

	if (when_parse(at, show_now_ms(), &ms, &why) < 0) {
		AUTO(free_ptr) char *shown = show_text(at);

		return out_error(out, CODE_USAGE, "restore: \"%s\" is %s", shown, why.text);
	}
	struct past *p = past_create(s->db, ms);
	int r = restore_path(p, path, ret);
	past_destroy(p);
	if (r == -ENOENT)
		r = restore_renamed(s, path, ms, ret);
	if (r == -ENOENT) {
		AUTO(free_ptr) char *shown = show_text(path);
		AUTO(buf_fini) struct buf when = {0};

		show_rfc3339(&when, ms);
		return out_error(out, CODE_FAILED,
				 "restore: %s was not there at %s: see blaze log for when it was",
				 shown, buf_str(&when));
	}
	return r < 0 ? out_error(out, CODE_FAILED, "restore: %s", strerror(-r)) : CODE_OK;
}

static int of_rev(struct service *s, struct out *out, const char *path, const char *rev,
		  struct restored *ret)
{
	AUTO(free_ptr) char *shown = show_text(path);
	struct history *h = NULL;
	struct id node;
	size_t i = 0;
	int r = db_resolve(s->db, path, true, &node);

	if (r == 0)
		r = history_open_whole(s->db, &node, &h);
	if (r < 0)
		return out_error(out, CODE_FAILED, "restore: %s never was a record of %s", shown,
				 s->name);
	bool dir = history_kind(h) == NODE_DIR;
	r = dir ? -EISDIR : history_find(h, rev, &i);
	if (r == 0)
		r = restore_version(s->db, &node, h, i, ret);
	history_close(h);
	if (r == -EISDIR)
		return out_error(out, CODE_USAGE,
				 "restore: %s is a directory: say a time with --at instead", shown);
	if (r == -ENOENT || r == -EINVAL || r == -ENOTUNIQ) {
		AUTO(free_ptr) char *what = show_text(rev);

		return out_error(out, CODE_FAILED, "restore: %s has %s revision %s: see blaze log",
				 shown, r == -ENOTUNIQ ? "more than one" : "no", what);
	}
	return r < 0 ? out_error(out, CODE_FAILED, "restore: %s", strerror(-r)) : CODE_OK;
}

static int restore_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct restore_options o = {0};
	struct restored did = {0};
	int code = CODE_OK;
	int first = options_parse(&cmd_restore.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	const char *path = first < argc ? argv[first] : "";
	if (!o.at == !o.rev)
		return out_error(out, CODE_USAGE,
				 "restore: to when? Say --at TIME, or --rev REV from blaze log");
	uint64_t missing = o.incomplete ? 0 : db_history_missing(s->db);
	if (missing)
		return refuse(out, missing);
	service_settle(s);
	code = o.at ? at_time(s, out, path, o.at, &did) : of_rev(s, out, path, o.rev, &did);
	service_told(s);
	if (code != CODE_OK)
		return code;
	if (o.json)
		tell_json(out, &did);
	else
		tell(out, path, &did);
	return did.blocked + did.missing ? CODE_ATTENTION : CODE_OK;
}

const struct command cmd_restore = {
	.usage = {.name = "restore",
		  .operands = "[PATH]",
		  .operands_max = 1,
		  .summary = "Brings a file or directory back as it was, as new changes.",
		  .notes = "What was deleted comes back, what was changed gets its content of then. "
			   "What came later stays.\nblaze undo takes it back. Without PATH: the "
			   "directory you are in.\n",
		  .rows = restore_rows,
		  .row_count = countof(restore_rows)},
	.run = client_run,
	.serve = restore_serve,
	.operand_is_path = true,
};
