/* blaze relay: which relays keep this database's changes for devices that are away. */
#include "cli/client.h"
#include "cli/mountpoint.h"
#include "cli/relay_grant.h"
#include "cli/service.h"
#include "cli/show.h"
#include "net/folders.h"
#include "net/relays.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct relay_options {
	bool json;
};

static const struct option_row relay_rows[] = {
	{"json", 'j', OPTION_FLAG, NULL, "list: print one JSON object",
	 offsetof(struct relay_options, json), 0},
};

static const char *state_name(const struct service *s, const struct relay_info *i)
{
	bool idle = i->idle && !(i->waits && !i->used) && i->generation == db_generation(s->db) &&
		    (!s->vfs || vfs_held_count(s->vfs) == 0);

	switch (i->state) {
	case RELAY_AWAY:
		return "away";
	case RELAY_DIALLING:
	case RELAY_HANDSHAKE:
	case RELAY_KNOCKING:
		return i->error[0] ? "away" : "connecting";
	case RELAY_OPEN:
		return idle ? "synced" : "syncing";
	}
	return "away";
}

/* What stands in a directory is not yet with its provider, let alone on another device: "written" says no more. */
static const char *folder_state(const struct service *s, const struct folder_info *i)
{
	bool idle = i->idle && i->generation == db_generation(s->db) &&
		    (!s->vfs || vfs_held_count(s->vfs) == 0);

	if (!i->open)
		return i->error[0] ? "away" : "connecting";
	return idle && !i->error[0] ? "written" : "syncing";
}

static void folders_json(const struct service *s, struct buf *text)
{
	AUTO(free_ptr) struct folder_info *infos = NULL;
	size_t n = net_folder_list(s->net, &infos);

	buf_printf(text, "],\"folders\":[");
	for (size_t i = 0; i < n; i++) {
		const struct folder_info *f = &infos[i];

		buf_printf(text, "%s{", i ? "," : "");
		show_json_text(text, "path", f->path);
		show_json_text(text, "state", folder_state(s, f));
		show_json_text(text, "error", f->error);
		buf_printf(text,
			   "\"waiting_bytes\":%" PRIu64 ",\"files\":%" PRIu64 ",\"bytes\":%" PRIu64
			   ",\"odd\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"written_ms\":%" PRIu64
			   ",\"up_bytes\":%" PRIu64 ",\"down_bytes\":%" PRIu64 "}",
			   f->waiting_bytes, f->file_count, f->bytes, f->odd_count, f->lost_count,
			   f->written_ms, f->up_bytes, f->down_bytes);
	}
}

static void list_json(const struct service *s, struct out *out, const struct relay_info *infos,
		      size_t count)
{
	AUTO(buf_fini) struct buf text = {0};

	buf_printf(&text, "{\"v\":1,\"relays\":[");
	for (size_t i = 0; i < count; i++) {
		const struct relay_info *r = &infos[i];

		buf_printf(&text, "%s{", i ? "," : "");
		show_json_text(&text, "address", r->address);
		show_json_text(&text, "state", state_name(s, r));
		show_json_text(&text, "error", r->error);
		show_json_text(&text, "alarm", r->alarm);
		buf_printf(&text, "\"used\":%s,\"in_doubt\":%s,", r->used ? "true" : "false",
			   r->in_doubt ? "true" : "false");
		buf_printf(&text, "\"keyless\":%s,", r->keyless ? "true" : "false");
		buf_printf(&text, "\"member\":%s,\"reads\":%s,\"copied\":%s,",
			   r->member ? "true" : "false", r->reads ? "true" : "false",
			   r->copied ? "true" : "false");
		show_json_text(&text, "copy_error", r->copy_error);
		buf_printf(&text,
			   "\"cursor\":%" PRIu64 ",\"unsafe\":%" PRIu64 ",\"refused\":%" PRIu64
			   ",\"receipted_ms\":%" PRIu64 ",\"rtt_us\":%" PRId64
			   ",\"up_bytes\":%" PRIu64 ",\"down_bytes\":%" PRIu64 "}",
			   r->cursor, r->flight, r->refused, r->receipted_ms, r->rtt_us,
			   r->up_bytes, r->down_bytes);
	}
	folders_json(s, &text);
	buf_printf(&text, "]}\n");
	out_text(out, buf_slice(&text));
}

static void folders_text(const struct service *s, struct out *out, const struct folder_info *infos,
			 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct folder_info *f = &infos[i];
		AUTO(free_ptr) char *path = show_text(f->path);
		AUTO(buf_fini) struct buf size = {0};

		out_printf(out, FOLDERS_SCHEME "%-29s %s", path, folder_state(s, f));
		if (f->error[0])
			out_printf(out, ": %s", f->error);
		if (f->waiting_bytes) {
			show_size(&size, f->waiting_bytes);
			out_printf(out, ", %s to be written", buf_str(&size));
		}
		buf_clear(&size);
		show_size(&size, f->bytes);
		if (f->open)
			out_printf(out, ", %" PRIu64 " file%s, %s", f->file_count,
				   show_plural(f->file_count), buf_str(&size));
		out_printf(out, "\n");
		if (f->odd_count)
			out_printf(out,
				   "  %" PRIu64
				   " file%s there %s not whole yet, damaged or foreign, and "
				   "not used\n",
				   f->odd_count, show_plural(f->odd_count),
				   f->odd_count == 1 ? "is" : "are");
		if (f->lost_count)
			out_printf(out,
				   "  %" PRIu64
				   " file%s of this device went missing or bad there; what "
				   "was in %s is written again\n",
				   f->lost_count, show_plural(f->lost_count),
				   f->lost_count == 1 ? "it" : "them");
	}
}

/* SMART: what it may read, and how its copy is. */
static void copy_text(const struct service *s, struct out *out, const struct relay_info *r)
{
	AUTO(free_ptr) char *why = show_text(r->copy_error);
	AUTO(buf_fini) struct buf names = {0};

	if (r->reads && !r->member) {
		out_printf(out,
			   "  says that it has a readable copy; nobody granted it anything, and it is "
			   "given nothing\n");
		return;
	}
	if (!r->member)
		return;
	relay_grant_names(s->db, r->member, &names);
	out_printf(out, "  reads %s: its copy is %s%s%s\n", names.len ? buf_str(&names) : "nothing",
		   r->copied  ? "complete"
		   : r->reads ? "behind"
			      : "not there yet",
		   *why ? ": " : "", why);
}

static void list_text(const struct service *s, struct out *out, const struct relay_info *infos,
		      size_t count)
{
	if (count == 0)
		out_printf(out, "No relay. Add one with: blaze relay add ADDRESS (blaze-relay setup "
				"prints it)\n");
	for (size_t i = 0; i < count; i++) {
		const struct relay_info *r = &infos[i];

		out_printf(out, "%-36s %s", r->address, state_name(s, r));
		if (r->in_doubt)
			out_printf(out, ", does not answer");
		else if (r->state == RELAY_OPEN && !r->used)
			out_printf(out, ", spare");
		if (r->error[0])
			out_printf(out, ": %s", r->error);
		if (r->flight)
			out_printf(out, ", %" PRIu64 " on the way", r->flight);
		if (r->state == RELAY_OPEN && r->rtt_us >= 0)
			out_printf(out, ", %.1f ms", (double)r->rtt_us / 1000);
		out_printf(out, "\n");
		copy_text(s, out, r);
		if (r->keyless)
			out_printf(out,
				   "  holds changes under a key that this device does not have yet: one "
				   "that manages the database has to be met\n");
		if (r->alarm[0])
			out_printf(out, "  not to be trusted: %s\n", r->alarm);
		if (r->refused)
			out_printf(out, "  gave %" PRIu64 " damaged or forged item%s\n", r->refused,
				   show_plural(r->refused));
	}
}

static int list(struct service *s, struct out *out, bool json)
{
	AUTO(free_ptr) struct relay_info *infos = NULL;
	AUTO(free_ptr) struct folder_info *folders = NULL;
	size_t n = net_relay_list(s->net, &infos);
	size_t folder_count = net_folder_list(s->net, &folders);

	if (json) {
		list_json(s, out, infos, n);
		return CODE_OK;
	}
	if (n > 0 || folder_count == 0)
		list_text(s, out, infos, n);
	folders_text(s, out, folders, folder_count);
	return CODE_OK;
}

static bool is_folder(const char *address)
{
	return strncmp(address, FOLDERS_SCHEME, strlen(FOLDERS_SCHEME)) == 0;
}

/* Whether path is dir or below it. */
static bool is_inside(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return n > 0 && strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* path is absolute: relay_run() resolved it. */
static int change_folder(struct service *s, const char *path, bool adds, struct why *why)
{
	if (path[0] != '/')
		return why_set(why, -EINVAL, FOLDERS_SCHEME "PATH needs a path");
	if (!adds)
		return net_folder_remove(s->net, path, why);
	if ((s->mountpoint && is_inside(path, s->mountpoint)) || is_inside(path, db_dir(s->db)))
		return why_set(why, -EINVAL,
			       FOLDERS_SCHEME "%s is inside this database: choose a directory that "
					      "another program carries to the other devices",
			       path);
	return net_folder_add(s->net, path, why);
}

/* Words that are followed by a relay's address. */
static bool names_relay(const char *text)
{
	static const char *const words[] = {"add", "remove", "grant", "revoke"};

	for (size_t i = 0; i < countof(words); i++) {
		if (strcmp(text, words[i]) == 0)
			return true;
	}
	return false;
}

static bool is_word(const char *text)
{
	return strcmp(text, "list") == 0 || names_relay(text);
}

static int relay_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct relay_options o = {0};
	struct why why = {""};
	int code = CODE_OK;
	int first = options_parse(&cmd_relay.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	const char *word = first < argc ? argv[first] : "list";
	const char *address = first + 1 < argc ? argv[first + 1] : NULL;
	bool adds = strcmp(word, "add") == 0;
	if (strcmp(word, "grant") == 0 && argc - first > 2)
		return relay_grant_serve(s, out, argc - first - 1, argv + first + 1);
	if (strcmp(word, "revoke") == 0 && address)
		return relay_revoke_serve(s, out, address);
	if (!adds && !names_relay(word))
		return list(s, out, o.json);
	if (!address)
		return out_error(out, CODE_USAGE, "relay: %s which? blaze relay %s ADDRESS%s", word,
				 word, strcmp(word, "grant") == 0 ? " DIR..." : "");
	int r = is_folder(address) ? change_folder(s, address + strlen(FOLDERS_SCHEME), adds, &why)
		: adds		   ? net_relay_add(s->net, address, &why)
				   : net_relay_remove(s->net, address, &why);
	if (r < 0)
		return out_error(out, r == -EINVAL ? CODE_USAGE : CODE_FAILED, "relay: %s",
				 why.text);
	out_printf(out, adds ? "Added. See blaze relay for how it is.\n" : "Removed.\n");
	return CODE_OK;
}

/* Makes the path of a folder absolute, here, where a directory that hangs makes nobody else wait. Caller frees. */
static int resolve_folder(const char *address, bool adds, char **ret, struct why *why)
{
	const char *path = address + strlen(FOLDERS_SCHEME);
	AUTO(free_ptr) char *real = NULL;
	int r = folder_resolve(path, &real, why);

	/* One that is gone can be removed, too. */
	if (r < 0 && !adds)
		real = path[0] == '/' ? xstrdup(path) : mountpoint_absolute(path);
	if (!real)
		return r;
	*ret = xasprintf(FOLDERS_SCHEME "%s", real);
	return 0;
}

/* What is in argv, anybody on this machine can read for as long as it stands there; "-" is read from standard input. */
static int relay_run(const struct command *c, struct out *out, int argc, char **argv)
{
	char text[MAILADDR_TEXT_BYTES] = "";
	AUTO(free_ptr) char *folder = NULL;
	struct why why = {""};

	for (int i = 1; i < argc; i++) {
		bool piped = strcmp(argv[i], "-") == 0 && strcmp(argv[i - 1], "add") == 0;

		if (piped && !fgets(text, sizeof(text), stdin))
			return out_error(out, CODE_USAGE, "relay: standard input holds no address");
		if (piped) {
			text[strcspn(text, "\r\n")] = 0;
			argv[i] = text;
		} else if (strstr(argv[i], "#k=")) {
			(void)snprintf(text, sizeof(text), "%s", argv[i]);
			wipe(argv[i], strlen(argv[i]));
			argv[i] = text;
		} else if (is_folder(argv[i]) && !folder) {
			bool adds = strcmp(argv[i - 1], "add") == 0;

			if (resolve_folder(argv[i], adds, &folder, &why) < 0)
				return out_error(out, CODE_USAGE, "relay: %s", why.text);
			argv[i] = folder;
		}
	}
	int code = CODE_OK;
	struct relay_options o = {0};
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);
	if (!first)
		return code;
	code = first < argc && strcmp(argv[first], "grant") == 0
		       ? relay_grant_run(c, out, argc, argv, first)
		       : client_run(c, out, argc, argv);
	wipe(text, sizeof(text));
	return code;
}

/* "add ADDRESS [NAME|DIR]", "list [NAME|DIR]", "[NAME|DIR]": which of them is the database. */
static int path_operand(int count, char **operands)
{
	if (count == 0 || !is_word(operands[0]))
		return 0;
	if (strcmp(operands[0], "grant") == 0) /* relay_grant_run() puts it behind the directories */
		return count > 2 ? count - 1 : count;
	return strcmp(operands[0], "list") == 0 ? 1 : 2;
}

const struct command cmd_relay = {
	.usage =
		{.name = "relay",
		 .operands =
			 "[list|add ADDRESS|add folder:PATH|remove ADDRESS|revoke ADDRESS] [NAME|DIR]\n"
			 "       blaze relay grant ADDRESS DIR...",
		 .operands_max = RELAY_GRANT_MAX + 3,
		 .summary =
			 "Adds, removes or lists the relays that keep changes for devices that are away; lets one read.",
		 .notes =
			 "ADDRESS is what blaze-relay setup printed (-: read it from standard input). A relay can read nothing it is given. Devices\n"
			 "that sync with this one hear of it; on one that never does, add it, too.\n"
			 "folder:PATH: a directory that another program carries to the other devices (iCloud Drive, Dropbox, NFS, rclone).\n"
			 "Add it on each device: where it is differs. Nothing readable is put into it.\n"
			 "grant: the relay may read these directories, and keeps a readable copy of them. They are at the top of a\n"
			 "database: paths in a mount, or NAME:DIR. It is a member from then on: see blaze devices.\n"
			 "revoke: it may not any more. It erases its copy, and what is written from then on it cannot read.\n",
		 .rows = relay_rows,
		 .row_count = countof(relay_rows)},
	.run = relay_run,
	.serve = relay_serve,
	.needs = COMMAND_NEEDS_NET,
	.path_operand = path_operand,
};
