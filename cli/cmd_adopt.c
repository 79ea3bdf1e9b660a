/* blaze devices adopt: work of a removed device that reached nobody. */
#include "cli/adopt.h"
#include "cli/command.h"
#include "cli/show.h"
#include "core/adopt.h"

#include <stdlib.h>
#include <string.h>

/** Files that are listed by name; the rest is counted. */
#define LISTED_MAX 200

static char *shown_label(const struct device *d)
{
	char label[DEVICE_LABEL_BYTES];

	device_label(d, label);
	return show_text(label);
}

/* ---- what there is --------------------------------------------------------------------------------- */

static const char *kind_of(const struct adopt_node *n)
{
	return n->deleted ? "deleted" : n->created ? "new" : n->moved ? "moved" : "changed";
}

static void print_node(struct out *out, const struct adopt_node *n, int width)
{
	AUTO(buf_fini) struct buf text = {0};
	AUTO(free_ptr) char *path = show_text(n->path);
	uint64_t now = show_now_ms();

	buf_printf(&text, "  %-*s%s  %-7s  %llu change%s  ", width, path, n->is_dir ? "/" : " ",
		   kind_of(n), (unsigned long long)n->change_count, show_plural(n->change_count));
	if (!n->is_dir && !n->deleted)
		show_size(&text, n->byte_count);
	buf_printf(&text, "  ");
	show_time(&text, n->last_ms, now);
	out_printf(out, "%s%s\n", buf_str(&text),
		   n->large ? "  (large: its content is fetched afterwards)" : "");
}

static void print_work(struct out *out, const struct adopt_work *w)
{
	AUTO(free_ptr) char *name = shown_label(&w->device);
	AUTO(buf_fini) struct buf text = {0};
	uint64_t now = show_now_ms();
	int width = 8;

	show_size(&text, w->byte_count);
	buf_printf(&text, "), dated ");
	show_time(&text, w->first_ms, now);
	buf_printf(&text, " to ");
	show_time(&text, w->last_ms, now);
	out_printf(out,
		   "%s made %llu change%s that reached nobody before it lost the right to (%s by its own "
		   "clock:\n",
		   name, (unsigned long long)w->change_count, show_plural(w->change_count),
		   buf_str(&text));
	for (size_t i = 0; i < w->node_count && i < LISTED_MAX; i++) {
		int len = (int)strlen(w->nodes[i].path);

		width = len > width && len <= 48 ? len : width;
	}
	for (size_t i = 0; i < w->node_count && i < LISTED_MAX; i++)
		print_node(out, &w->nodes[i], width);
	if (w->node_count > LISTED_MAX)
		out_printf(out, "  and %zu more\n", w->node_count - LISTED_MAX);
}

static void put_flag(struct buf *out, const char *key, bool value)
{
	buf_printf(out, "\"%s\":%s,", key, value ? "true" : "false");
}

static void print_json(struct out *out, const struct adopt_work *w)
{
	AUTO(buf_fini) struct buf text = {0};

	buf_printf(&text, "{\"v\":1,");
	show_json_text(&text, "device", w->device.name);
	buf_printf(&text, "\"changes\":%llu,\"bytes\":%llu,\"files\":[",
		   (unsigned long long)w->change_count, (unsigned long long)w->byte_count);
	for (size_t i = 0; i < w->node_count; i++) {
		const struct adopt_node *n = &w->nodes[i];

		buf_printf(&text, "%s{", i ? "," : "");
		show_json_text(&text, "path", n->path);
		show_json_text(&text, "what", kind_of(n));
		put_flag(&text, "directory", n->is_dir);
		put_flag(&text, "large", n->large);
		buf_printf(&text, "\"changes\":%llu,\"bytes\":%llu,\"first\":\"",
			   (unsigned long long)n->change_count, (unsigned long long)n->byte_count);
		show_rfc3339(&text, n->first_ms);
		buf_printf(&text, "\",\"last\":\"");
		show_rfc3339(&text, n->last_ms);
		buf_printf(&text, "\"}");
	}
	buf_printf(&text, "]}\n");
	out_text(out, buf_slice(&text));
}

void adopt_print_list(struct service *s, struct out *out)
{
	AUTO(free_ptr) struct adoptable *list = NULL;
	size_t n = adopt_list(s->db, &list);

	for (size_t i = 0; i < n; i++) {
		AUTO(free_ptr) char *name = show_text(list[i].device.name);

		out_printf(
			out,
			"  %s: %llu change%s of it reached nobody in time. Next:  blaze devices adopt %s\n",
			name, (unsigned long long)list[i].change_count,
			show_plural(list[i].change_count), name);
	}
}

/* ---- what becomes of it ---------------------------------------------------------------------------- */

static int discard(struct service *s, struct out *out, const struct adopt_work *w, bool yes)
{
	AUTO(free_ptr) char *name = shown_label(&w->device);
	AUTO(free_ptr)
	char *question = xasprintf("Give up these changes here? %s still has them. [y/N] ", name);
	struct why why = {""};

	if (!yes && out->tty && out_ask(out, question) <= 0)
		return out_error(out, CODE_FAILED, "devices: nothing was changed");
	if (adopt_refuse(s->db, w->device.actor, &why) < 0)
		return out_error(out, CODE_FAILED, "devices: %s", why.text);
	out_printf(
		out,
		"Given up here. No more of it is taken from %s, unless another device adopts it.\n",
		name);
	return CODE_OK;
}

static int accept_work(struct service *s, struct out *out, const struct adopt_work *w, bool yes)
{
	struct why why = {""};
	uint64_t waiting = 0;

	if (!yes && !out->tty)
		return out_error(out, CODE_ATTENTION,
				 "devices: nothing was changed: say --yes to adopt all of it");
	if (!yes &&
	    out_ask(out,
		    "Whoever has the device can have made this at any time. Adopt all of it, on every "
		    "device? [y/N] ") <= 0)
		return out_error(out, CODE_FAILED, "devices: nothing was changed");
	service_settle(s);
	int r = adopt_accept(s->db, w, &waiting, &why);
	service_told(s);
	if (r < 0)
		return out_error(out, CODE_FAILED, "devices: %s", why.text);
	out_printf(out, "Adopted %llu change%s; other devices follow when they hear of it.\n",
		   (unsigned long long)w->change_count, show_plural(w->change_count));
	if (waiting)
		out_printf(out, "%llu of them wait for changes of others that they build on.\n",
			   (unsigned long long)waiting);
	return CODE_OK;
}

int adopt_run(struct service *s, struct out *out, const struct member_info *m,
	      const struct adopt_options *o)
{
	AUTO(adopt_work_fini) struct adopt_work w = {0};
	AUTO(free_ptr) char *name = shown_label(&m->device);

	if (adopt_look(s->db, m->device.actor, &w) < 0)
		return out_error(out, CODE_FAILED, "devices: what is kept of %s cannot be read",
				 name);
	if (o->json) {
		print_json(out, &w);
		return CODE_OK;
	}
	if (w.change_count == 0 && !o->discard) {
		out_printf(out,
			   "There is nothing of %s to adopt. What it made offline comes when it meets another "
			   "device.\n",
			   name);
		return CODE_OK;
	}
	if (w.change_count == 0)
		return out_error(out, CODE_FAILED, "devices: there is nothing of %s to give up",
				 name);
	print_work(out, &w);
	return o->discard ? discard(s, out, &w, o->yes) : accept_work(s, out, &w, o->yes);
}
