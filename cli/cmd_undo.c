/* blaze undo: takes back what this device did last, and nothing else. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/restore.h"

#include <stdlib.h>
#include <string.h>

struct undo_options {
	bool json;
	int64_t count;
	const char *rev;
};

static const struct option_row undo_rows[] = {
	{"count", 'n', OPTION_NUMBER, "N", "the last N changes instead of one",
	 offsetof(struct undo_options, count), 0},
	{"rev", 'r', OPTION_TEXT, "REV", "that change of PATH, whoever made it; see blaze log",
	 offsetof(struct undo_options, rev), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct undo_options, json), 0},
};

static int undo_rev(struct service *s, const struct id *node, const char *rev, struct undone *ret)
{
	struct history *h = NULL;
	size_t i = 0;
	struct id of;
	int r = history_open_whole(s->db, node, &h);

	if (r == 0)
		r = history_find(h, rev, &i);
	if (r == 0) {
		struct history *part = history_part(h, &i, &of);

		r = restore_undo_change(s->db, &of, part, i, ret);
	}
	history_close(h);
	return r;
}

static void tell(struct out *out, const struct undone *u)
{
	if (u->nodes)
		out_printf(out,
			   "Took back %llu change%s: %llu file%s or director%s differ%s now (undo: "
			   "blaze undo).\n",
			   (unsigned long long)u->changes, show_plural(u->changes),
			   (unsigned long long)u->nodes, show_plural(u->nodes),
			   u->nodes == 1 ? "y" : "ies", u->nodes == 1 ? "s" : "");
	else
		out_printf(out, "Nothing was left to take back: it was changed again since.\n");
	if (u->nodes && u->kept)
		out_printf(out, "%llu changed again since stay%s as now.\n",
			   (unsigned long long)u->kept, u->kept == 1 ? "s" : "");
}

static int failed(struct service *s, struct out *out, const char *path, int r, const char *rev)
{
	AUTO(free_ptr) char *shown = show_text(*path ? path : s->name);

	if (rev && (r == -ENOENT || r == -EINVAL || r == -ENOTUNIQ)) {
		AUTO(free_ptr) char *what = show_text(rev);

		return out_error(out, CODE_FAILED, "undo: %s has %s revision %s: see blaze log",
				 shown, r == -ENOTUNIQ ? "more than one" : "no", what);
	}
	if (r == -ENOENT)
		return out_error(out, CODE_FAILED,
				 "undo: this device has not changed %s: see blaze log, and undo "
				 "--rev for what others did",
				 shown);
	if (r == -ENODATA)
		return out_error(
			out, CODE_FAILED,
			"undo: what %s said before is not on this device: it was given up "
			"(blaze compact --drop-before), or replaced before it came here; ask a "
			"device that was there",
			shown);
	return out_error(out, CODE_FAILED, "undo: %s", strerror(-r));
}

static int undo_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct undo_options o = {.count = 1};
	struct undone did = {0};
	struct id node;
	int code = CODE_OK;
	int first = options_parse(&cmd_undo.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	const char *path = first < argc ? argv[first] : "";
	if (o.rev && !*path)
		return out_error(out, CODE_USAGE, "undo: --rev needs the PATH of a file");
	service_settle(s);
	int r = db_resolve(s->db, path, true, &node);
	if (r == 0)
		r = o.rev ? undo_rev(s, &node, o.rev, &did)
			  : restore_undo(s->db, &node, (size_t)o.count, &did);
	service_told(s);
	if (r < 0)
		return failed(s, out, path, r, o.rev);
	if (o.json)
		out_printf(out, "{\"v\":1,\"changes\":%llu,\"nodes\":%llu,\"kept\":%llu}\n",
			   (unsigned long long)did.changes, (unsigned long long)did.nodes,
			   (unsigned long long)did.kept);
	else
		tell(out, &did);
	return did.nodes ? CODE_OK : CODE_ATTENTION;
}

const struct command cmd_undo = {
	.usage = {.name = "undo",
		  .operands = "[PATH]",
		  .operands_max = 1,
		  .summary = "Takes back the last change made on this device.",
		  .notes = "Only what that change did is taken back; what others, or later saves, "
			   "changed stays. It is a\nnew change itself: undo again and it is as before. "
			   "With PATH: the last change to that file,\nor to something in that directory. "
			   "Exit code 3: it was all changed again since.\n",
		  .rows = undo_rows,
		  .row_count = countof(undo_rows)},
	.run = client_run,
	.serve = undo_serve,
	.operand_is_path = true,
};
