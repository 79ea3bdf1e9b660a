/* blaze devices: who is a member; blaze devices remove: who is not any more; blaze devices adopt: cmd_adopt.c. */
#include "cli/adopt.h"
#include "cli/client.h"
#include "cli/peer.h"
#include "cli/petition.h"
#include "cli/relay_grant.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct devices_options {
	const char *remove;
	const char *role;
	const char *to;
	const char *adopt;
	bool discard;
	bool words;
	bool yes;
	bool json;
};

static const struct option_row devices_rows[] = {
	{"remove", 'r', OPTION_TEXT, "DEVICE",
	 "what it writes from now on is not accepted, and what others write it cannot read",
	 offsetof(struct devices_options, remove), 0},
	{"words", 'w', OPTION_FLAG, NULL,
	 "remove: by the recovery words, whatever this device may, and whatever that one did",
	 offsetof(struct devices_options, words), 0},
	{"role", 'o', OPTION_TEXT, "DEVICE", "give it the role that --to says",
	 offsetof(struct devices_options, role), 0},
	{"to", 't', OPTION_TEXT, "ROLE", "read, write, manage or owner",
	 offsetof(struct devices_options, to), 0},
	{"adopt", 'a', OPTION_TEXT, "DEVICE",
	 "what it made before it heard that it was removed, and nobody has",
	 offsetof(struct devices_options, adopt), 0},
	{"discard", 'd', OPTION_FLAG, NULL, "adopt: give it up instead, on this device",
	 offsetof(struct devices_options, discard), 0},
	{"yes", 'y', OPTION_FLAG, NULL, "do not ask, on a terminal",
	 offsetof(struct devices_options, yes), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct devices_options, json), 0},
};

static const char *name_of(const struct member_info *list, size_t n, uint64_t actor)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].device.actor == actor)
			return list[i].device.name;
	}
	return "";
}

/* What this member was caught at since the database was opened. */
static void flags_json(struct db *db, uint64_t actor, struct buf *text)
{
	AUTO(free_ptr) struct flag *flags = NULL;
	size_t count = db_flags(db, &flags);
	const char *comma = "";

	buf_printf(text, "\"flags\":[");
	for (size_t i = 0; i < count; i++) {
		if (flags[i].actor != actor)
			continue;
		buf_printf(text, "%s\"%s\"", comma, flags_name(flags[i].kind));
		comma = ",";
	}
	buf_printf(text, "],");
}

static void print_json(struct db *db, struct out *out, const struct member_info *list, size_t n)
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
		show_json_text(&text, "role", show_role(m->role));
		show_json_text(&text, "admitted_by", name_of(list, n, m->admitted_by));
		if (m->removed)
			show_json_text(&text, "removed_by", name_of(list, n, m->removed_by));
		if (m->role == MEMBER_RELAY)
			relay_grant_json(db, m->device.actor, &text);
		flags_json(db, m->device.actor, &text);
		buf_printf(&text, "\"own\":%s,\"removed\":%s}", m->own ? "true" : "false",
			   m->removed ? "true" : "false");
	}
	buf_printf(&text, "]}\n");
	out_text(out, buf_slice(&text));
}

static void print_relay(struct db *db, struct out *out, const struct member_info *m)
{
	AUTO(buf_fini) struct buf names = {0};

	relay_grant_names(db, m->device.actor, &names);
	out_printf(out, "reads: %s\n", names.len ? buf_str(&names) : "nothing");
}

static void print_list(struct db *db, struct out *out, const struct member_info *list, size_t n)
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
		out_printf(out, "%-*s  %-6s  ", width, shown, show_role(m->role));
		if (m->removed)
			out_printf(out, "removed%s%s%s\n", *by ? " by " : "", by,
				   m->own ? " (this device)" : "");
		else if (m->role == MEMBER_RELAY)
			print_relay(db, out, m);
		else
			out_printf(out, "%s\n", m->own ? "this device" : "member");
	}
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

static int give_role(struct service *s, struct out *out, const struct member_info *m, const char *to)
{
	enum member_role role = to ? show_parse_role(to) : 0;
	struct why why = {""};
	char label[DEVICE_LABEL_BYTES];

	if (!role)
		return out_error(out, CODE_USAGE,
				 "devices: a role is one of read, write, manage and owner");
	device_label(&m->device, label);
	AUTO(free_ptr) char *shown = show_text(label);
	if (db_set_role(s->db, m->device.actor, role, &why) < 0)
		return out_error(out, CODE_FAILED, "devices: %s", why.text);
	out_printf(out, "%s has the role %s now; other devices follow when they hear of it.\n",
		   shown, show_role(role));
	return CODE_OK;
}

static void print_flags(struct service *s, struct out *out)
{
	AUTO(free_ptr) struct flag *flags = NULL;
	size_t count = db_flags(s->db, &flags);

	for (size_t i = 0; i < count; i++) {
		char label[DEVICE_LABEL_BYTES];
		struct device d;

		if (db_member(s->db, flags[i].actor, &d) < 0)
			continue;
		device_label(&d, label);
		AUTO(free_ptr) char *shown = show_text(label);
		out_printf(out, "  ! %s: %s\n", shown, flags_text(flags[i].kind));
	}
}

static int devices_serve(struct service *s, struct out *out, int argc, char **argv)
{
	AUTO(free_ptr) struct member_info *list = NULL;
	struct member_info found;
	struct devices_options o = {0};
	int code = CODE_OK;

	if (!options_parse(&cmd_devices.usage, &o, argc, argv, out, &code))
		return code;
	if (o.discard && !o.adopt)
		return out_error(out, CODE_USAGE, "devices: --discard goes with adopt");
	if (o.remove || o.role || o.adopt) {
		code = peer_find_member(s,
					o.remove  ? o.remove
					: o.adopt ? o.adopt
						  : o.role,
					&found, out);
		if (code != CODE_OK)
			return code;
		if (o.adopt && !o.remove)
			return adopt_run(s, out, &found,
					 &(struct adopt_options){.yes = o.yes,
								 .discard = o.discard,
								 .json = o.json});
		return o.remove ? remove_device(s, out, &found, o.yes)
				: give_role(s, out, &found, o.to);
	}
	size_t n = db_members(s->db, &list);
	if (o.json)
		print_json(s->db, out, list, n);
	else
		print_list(s->db, out, list, n);
	if (!o.json) {
		print_flags(s, out);
		adopt_print_list(s, out);
	}
	return db_is_removed(s->db) ? CODE_ATTENTION : CODE_OK;
}

/* What stands for operands: "devices remove X" is "devices --remove=X". */
static const struct verb {
	const char *name;
	const char *options[2];
	const char *missing;
} verbs[] = {
	{"remove", {"remove"}, "devices: remove which? See blaze devices"},
	{"adopt", {"adopt"}, "devices: adopt the work of which? See blaze devices"},
	{"role",
	 {"role", "to"},
	 "devices: which role for which? Such as: blaze devices role desk read"},
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < countof(verbs); i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	}
	return NULL;
}

static int devices_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct devices_options o = {0};
	int code = CODE_OK;
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	const struct verb *v = first < argc ? find_verb(argv[first]) : NULL;
	if (!v) {
		if (argc - first > 1)
			return out_error(out, CODE_USAGE,
					 "devices: one database only: see blaze devices --help");
		if (o.words && !o.remove)
			return out_error(out, CODE_USAGE, "devices: --words goes with remove");
		return o.words ? petition_run_removal(out, o.remove, argv[first])
			       : client_run(c, out, argc, argv);
	}
	int operands = v->options[1] ? 2 : 1;
	if (argc - first < 1 + operands)
		return out_error(out, CODE_USAGE, "%s", v->missing);
	if (o.words && v != &verbs[0])
		return out_error(out, CODE_USAGE, "devices: --words goes with remove");
	if (o.words)
		return petition_run_removal(out, argv[first + 1], argv[first + 2]);
	AUTO(free_ptr) char *option = xasprintf("--%s=%s", v->options[0], argv[first + 1]);
	AUTO(free_ptr)
	char *second = operands > 1 ? xasprintf("--%s=%s", v->options[1], argv[first + 2]) : NULL;
	AUTO(free_ptr) char **list = xcalloc((size_t)argc + 1, sizeof(*list));
	int n = 0;
	list[n++] = argv[0];
	list[n++] = option;
	if (second)
		list[n++] = second;
	for (int i = 1; i < argc; i++) {
		if (i < first || i > first + operands)
			list[n++] = argv[i];
	}
	return client_run(c, out, n, list);
}

const struct command cmd_devices = {
	.usage = {.name = "devices",
		  .operands = "[remove DEVICE | adopt DEVICE | role DEVICE ROLE] [NAME|DIR]",
		  .operands_max = 4,
		  .summary =
			  "Lists the devices that share the database; removes one, adopts its work, gives it a role.",
		  .notes =
			  "Roles: read sees all and changes nothing; write changes files; manage also admits and removes\n"
			  "devices up to its own role; owner is what one's own devices are. A relay\n"
			  "reads what blaze relay grant said, and no more.\n"
			  "A removed device keeps what it has. Nobody who hears of it accepts what it writes "
			  "afterwards,\nhowever it is dated, and what is written from then on is sealed "
			  "under keys it does not get.\nadopt shows what such a device made before it heard "
			  "of that, and nobody had taken; it counts if\nyou say so.\n"
			  "Exit code 3: this device was removed.\n",
		  .rows = devices_rows,
		  .row_count = countof(devices_rows)},
	.run = devices_run,
	.serve = devices_serve,
};
