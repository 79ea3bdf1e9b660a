/* blaze deletes: bulk deletions of other devices that wait for an answer. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/hold.h"

#include <stdlib.h>
#include <string.h>

struct deletes_options {
	bool json;
	bool accept;
	bool refuse;
};

static const struct option_row deletes_rows[] = {
	{"accept", 'a', OPTION_FLAG, NULL, "the records go here, too",
	 offsetof(struct deletes_options, accept), 0},
	{"refuse", 'r', OPTION_FLAG, NULL, "the records live again, on every device",
	 offsetof(struct deletes_options, refuse), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct deletes_options, json), 0},
};

struct listing {
	struct out *out;
	const char *path; /* of a collection, "" = all */
	bool json;
	size_t count;
};

static void list_one(void *ctx, const struct hold *h)
{
	struct listing *l = ctx;
	AUTO(free_ptr) char *author = show_text(h->author);
	AUTO(free_ptr) char *path = show_text(*h->path ? h->path : ".");

	if (*l->path && strcmp(l->path, h->path) != 0)
		return;
	if (l->json) {
		AUTO(buf_fini) struct buf names = {0};

		show_json_text(&names, "path", h->path);
		show_json_text(&names, "device", h->author);
		out_printf(l->out, "%s{%s\"held\":%llu,\"of\":%llu}", l->count ? "," : "",
			   buf_str(&names), (unsigned long long)h->count,
			   (unsigned long long)h->all);
	} else {
		out_printf(l->out, "%s deleted %llu of %llu records in %s\n", author,
			   (unsigned long long)h->count, (unsigned long long)h->all, path);
	}
	l->count++;
}

static int list(struct service *s, struct out *out, const char *path, bool json)
{
	struct listing l = {.out = out, .path = path, .json = json};

	if (json)
		out_printf(out, "{\"v\":1,\"deletions\":[");
	hold_list(s->db, list_one, &l);
	if (json)
		out_printf(out, "]}\n");
	else if (l.count == 0)
		out_printf(out, "No deletion waits for an answer.\n");
	else
		out_printf(out,
			   "They are still here. Next:  blaze deletes --accept DIR, or --refuse\n");
	return l.count ? CODE_ATTENTION : CODE_OK;
}

static int deletes_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct deletes_options o = {0};
	uint64_t count = 0;
	int code = CODE_OK;
	int first = options_parse(&cmd_deletes.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	const char *path = first < argc ? argv[first] : "";
	if (o.accept && o.refuse)
		return out_error(out, CODE_USAGE, "deletes: --accept or --refuse, not both");
	if (!o.accept && !o.refuse)
		return list(s, out, path, o.json);
	service_settle(s);
	int r = hold_end(s->db, *path ? path : NULL, o.accept, &count);
	service_told(s);
	if (r == -ENOENT) {
		AUTO(free_ptr) char *shown = show_text(*path ? path : s->name);

		return out_error(out, CODE_FAILED,
				 "deletes: no deletion waits in %s: see blaze deletes", shown);
	}
	if (r < 0)
		return out_error(out, CODE_FAILED, "deletes: %s", strerror(-r));
	if (o.json)
		out_printf(out, "{\"v\":1,\"records\":%llu}\n", (unsigned long long)count);
	else
		out_printf(out, "%llu record%s %s.\n", (unsigned long long)count, show_plural(count),
			   o.accept ? "gone from here, too" : "back on every device");
	return CODE_OK;
}

const struct command cmd_deletes = {
	.usage = {.name = "deletes",
		  .operands = "[DIR]",
		  .operands_max = 1,
		  .summary = "Bulk deletions of other devices that wait for an answer.",
		  .notes = "When another device deletes more than half of a top-level directory within "
			   "seconds, and more\nthan 10 records, they stay in sight here until you say. Exit "
			   "code 3: something waits.\n",
		  .rows = deletes_rows,
		  .row_count = countof(deletes_rows)},
	.run = client_run,
	.serve = deletes_serve,
	.operand_is_path = true,
};
