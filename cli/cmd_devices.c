/* blaze devices: who is a member; blaze devices remove: who is not any more. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct devices_options {
	const char *remove;
	bool yes;
	bool json;
};

static const struct option_row devices_rows[] = {
	{"remove", 'r', OPTION_TEXT, "DEVICE",
	 "what it writes from now on is not accepted, and what others write it cannot read",
	 offsetof(struct devices_options, remove), 0},
	{"yes", 'y', OPTION_FLAG, NULL, "do not ask, on a terminal",
	 offsetof(struct devices_options, yes), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct devices_options, json), 0},
};

static const char *role_name(enum member_role role)
{
	static const char *const names[] = {
		[MEMBER_RELAY] = "relay",   [MEMBER_READ] = "read",   [MEMBER_WRITE] = "write",
		[MEMBER_MANAGE] = "manage", [MEMBER_OWNER] = "owner",
	};

	return role < countof(names) && names[role] ? names[role] : "none";
}

static const char *name_of(const struct member_info *list, size_t n, uint64_t actor)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].device.actor == actor)
			return list[i].device.name;
	}
	return "";
}

static void print_json(struct out *out, const struct member_info *list, size_t n)
{
	AUTO(buf_fini) struct buf text = {0};

	buf_printf(&text, "{\"v\":1,\"devices\":[");
	for (size_t i = 0; i < n; i++) {
		const struct member_info *m = &list[i];
		char label[DEVICE_LABEL_BYTES];

		device_label(&m->device, label);
		buf_printf(&text, "%s{", i ? "," : "");
		show_json_text(&text, "name", m->device.name);
		show_json_text(&text, "label", label);
		show_json_text(&text, "role", role_name(m->role));
		show_json_text(&text, "admitted_by", name_of(list, n, m->admitted_by));
		if (m->removed)
			show_json_text(&text, "removed_by", name_of(list, n, m->removed_by));
		buf_printf(&text, "\"own\":%s,\"removed\":%s}", m->own ? "true" : "false",
			   m->removed ? "true" : "false");
	}
	buf_printf(&text, "]}\n");
	out_text(out, buf_slice(&text));
}

static void print_list(struct out *out, const struct member_info *list, size_t n)
{
	int width = 6;

	for (size_t i = 0; i < n; i++) {
		char label[DEVICE_LABEL_BYTES];

		device_label(&list[i].device, label);
		width = (int)strlen(label) > width ? (int)strlen(label) : width;
	}
	out_printf(out, "%-*s  ROLE    STATE\n", width, "DEVICE");
	for (size_t i = 0; i < n; i++) {
		const struct member_info *m = &list[i];
		char label[DEVICE_LABEL_BYTES];

		device_label(&m->device, label);
		AUTO(free_ptr) char *shown = show_text(label);
		AUTO(free_ptr) char *by = show_text(name_of(list, n, m->removed_by));
		out_printf(out, "%-*s  %-6s  ", width, shown, role_name(m->role));
		if (m->removed)
			out_printf(out, "removed%s%s%s\n", *by ? " by " : "", by,
				   m->own ? " (this device)" : "");
		else
			out_printf(out, "%s\n", m->own ? "this device" : "member");
	}
}

/* By label, or by a name that only one member has. */
static int find_device(const struct member_info *list, size_t n, const char *text,
		       const struct member_info **ret, struct out *out)
{
	AUTO(free_ptr) char *shown = show_text(text);
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		char label[DEVICE_LABEL_BYTES];

		device_label(&list[i].device, label);
		bool exact = strcmp(label, text) == 0;
		if (!exact && (list[i].removed || strcmp(list[i].device.name, text) != 0))
			continue;
		*ret = &list[i];
		found++;
		if (exact) {
			found = 1;
			break;
		}
	}
	if (found > 1)
		return out_error(out, CODE_USAGE,
				 "devices: %zu devices are called %s: use a label of blaze devices",
				 found, shown);
	if (found == 0)
		return out_error(out, CODE_FAILED,
				 "devices: there is no member %s: see blaze devices", shown);
	return CODE_OK;
}

static int remove_device(struct service *s, struct out *out, const struct member_info *m, bool yes)
{
	struct why why = {""};
	char label[DEVICE_LABEL_BYTES];

	device_label(&m->device, label);
	AUTO(free_ptr) char *shown = show_text(label);
	AUTO(free_ptr)
	char *question = xasprintf("Remove %s? What it has, it keeps; it gets nothing new, and "
				   "what only it has is lost to the others. [y/N] ",
				   shown);
	if (m->removed) {
		out_printf(out, "%s was removed before.\n", shown);
		return CODE_OK;
	}
	if (!yes && out->tty && out_ask(out, question) <= 0)
		return out_error(out, CODE_FAILED, "devices: nothing was changed");
	if (db_remove_member(s->db, m->device.actor, &why) < 0)
		return out_error(out, CODE_FAILED, "devices: %s", why.text);
	out_printf(out,
		   "Removed %s. New keys are in use; other devices follow when they hear of it.\n",
		   shown);
	return CODE_OK;
}

static int devices_serve(struct service *s, struct out *out, int argc, char **argv)
{
	AUTO(free_ptr) struct member_info *list = NULL;
	const struct member_info *found = NULL;
	struct devices_options o = {0};
	int code = CODE_OK;

	if (!options_parse(&cmd_devices.usage, &o, argc, argv, out, &code))
		return code;
	size_t n = db_members(s->db, &list);
	if (o.remove) {
		code = find_device(list, n, o.remove, &found, out);
		return code == CODE_OK ? remove_device(s, out, found, o.yes) : code;
	}
	if (o.json)
		print_json(out, list, n);
	else
		print_list(out, list, n);
	return db_is_removed(s->db) ? CODE_ATTENTION : CODE_OK;
}

/* "devices remove X" is "devices --remove=X". */
static int devices_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct devices_options o = {0};
	int code = CODE_OK;
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	if (first >= argc || strcmp(argv[first], "remove") != 0) {
		if (argc - first > 1)
			return out_error(out, CODE_USAGE,
					 "devices: one database only: see blaze devices --help");
		return client_run(c, out, argc, argv);
	}
	if (argc - first < 2)
		return out_error(out, CODE_USAGE, "devices: remove which? See blaze devices");
	AUTO(free_ptr) char *option = xasprintf("--remove=%s", argv[first + 1]);
	AUTO(free_ptr) char **list = xcalloc((size_t)argc + 1, sizeof(*list));
	int n = 0;
	list[n++] = argv[0];
	list[n++] = option;
	for (int i = 1; i < argc; i++) {
		if (i != first && i != first + 1)
			list[n++] = argv[i];
	}
	return client_run(c, out, n, list);
}

const struct command cmd_devices = {
	.usage = {.name = "devices",
		  .operands = "[remove DEVICE] [NAME|DIR]",
		  .operands_max = 3,
		  .summary = "Lists the devices that share the database; removes one.",
		  .notes = "A removed device keeps what it has. Nobody who hears of it accepts what it writes "
			   "afterwards,\nhowever it is dated, and what is written from then on is sealed "
			   "under keys it does not get.\nExit code 3: this device was removed.\n",
		  .rows = devices_rows,
		  .row_count = countof(devices_rows)},
	.run = devices_run,
	.serve = devices_serve,
};
