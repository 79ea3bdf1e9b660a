/* blaze relay grant and revoke. */
#include "cli/relay_grant.h"

#include "cli/client.h"
#include "cli/home.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/thread.h"
#include "net/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A relay that is connected answers at once; one that is being dialled takes a moment. */
#define CERT_MS 5000
/* How long it is waited for that the relay has what it was granted, or has erased it: it goes on without. */
#define COPY_MS 10000

/* ---- for people ---------------------------------------------------------------------------------- */

/* A directory may have been renamed since; one that is gone is called as it was. Caller frees. */
static char *name_now(struct db *db, const struct grant_info *g)
{
	AUTO(free_ptr) char *path = db_path(db, &g->collection);

	return xstrdup(path && path[0] ? path : g->name);
}

void relay_grant_names(struct db *db, uint64_t actor, struct buf *out)
{
	AUTO(free_ptr) struct grant_info *list = NULL;
	size_t n = db_grants(db, actor, &list);

	for (size_t i = 0; i < n; i++) {
		AUTO(free_ptr) char *name = name_now(db, &list[i]);
		AUTO(free_ptr) char *shown = show_text(name);

		buf_printf(out, "%s%s", i ? ", " : "", shown);
	}
}

void relay_grant_json(struct db *db, uint64_t actor, struct buf *out)
{
	AUTO(free_ptr) struct grant_info *list = NULL;
	size_t n = db_grants(db, actor, &list);

	buf_printf(out, "\"reads\":[");
	for (size_t i = 0; i < n; i++) {
		AUTO(free_ptr) char *name = name_now(db, &list[i]);

		buf_printf(out, "%s\"", i ? "," : "");
		buf_json_string(out, SLICE_STR(name));
		buf_printf(out, "\"");
	}
	buf_printf(out, "],");
}

/* ---- in the person's process --------------------------------------------------------------------- */

/* The directory a person means: a path, "NAME:path", or the name of one in the only database. */
static int find_directory(const struct command *c, const char *operand, struct target *ret,
			  struct out *out)
{
	struct command paths = *c;

	paths.operand_is_path = true;
	if (strpbrk(operand, "/:") || access(operand, F_OK) == 0)
		return client_find(&paths, operand, ret, out);
	int code = client_find(&paths, NULL, ret, out);
	if (code != CODE_OK)
		return code;
	char *path = ret->path && ret->path[0] ? xasprintf("%s/%s", ret->path, operand)
					       : xstrdup(operand);
	free(ret->path);
	ret->path = path;
	return CODE_OK;
}

int relay_grant_run(const struct command *c, struct out *out, int argc, char **argv, int first)
{
	AUTO(free_ptr) char **list = xcalloc((size_t)argc + 2, sizeof(*list));
	char *owned[RELAY_GRANT_MAX + 1] = {0};
	AUTO(free_ptr) char *database = NULL;
	int code = CODE_OK;
	int n = 0;

	if (argc - first < 3)
		return out_error(out, CODE_USAGE,
				 "relay: grant what? blaze relay grant RELAY DIR...");
	if (argc - first - 2 > RELAY_GRANT_MAX)
		return out_error(out, CODE_USAGE, "relay: at most %d directories at once",
				 RELAY_GRANT_MAX);
	for (; n < first + 2; n++)
		list[n] = argv[n];
	for (int i = n; i < argc && code == CODE_OK; i++) {
		AUTO(target_fini) struct target t = {.fd = -1};

		code = find_directory(c, argv[i], &t, out);
		if (code != CODE_OK)
			break;
		if (!database)
			database = xstrdup(t.name);
		else if (strcmp(database, t.name) != 0)
			code = out_error(
				out, CODE_USAGE,
				"relay: %s and %s are two databases: grant them one after the other",
				database, t.name);
		owned[i - first - 2] = xstrdup(t.path ? t.path : "");
		list[n++] = owned[i - first - 2];
	}
	list[n++] = database;
	if (code == CODE_OK)
		code = client_run(c, out, n, list);
	for (size_t i = 0; i < countof(owned); i++)
		free(owned[i]);
	return code;
}

/* ---- with the database --------------------------------------------------------------------------- */

/* Streams are the directories at the top. */
static int find_collection(struct service *s, const char *path, struct grant_info *ret,
			   struct out *out)
{
	AUTO(free_ptr) char *shown = show_text(path);
	struct node_info info = {0};
	struct id root = db_root(s->db);

	*ret = (struct grant_info){0};
	int r = db_resolve(s->db, path, false, &ret->collection);
	if (r == 0) {
		struct txn *t = db_begin(s->db);

		r = db_node(t, &ret->collection, &info);
		db_abort(t);
	}
	bool good = r == 0 && info.kind == NODE_DIR && id_eq(&info.parent, &root) &&
		    !id_eq(&ret->collection, &root);
	if (good)
		(void)snprintf(ret->name, sizeof(ret->name), "%s", info.name);
	node_info_fini(&info);
	if (r < 0)
		return out_error(out, CODE_FAILED,
				 "relay: there is no directory %s in the database%s", shown,
				 s->vfs && vfs_held_count(s->vfs) ? " yet" : "");
	if (!good)
		return out_error(out, CODE_USAGE,
				 "relay: %s cannot be granted alone: only directories at the top of a "
				 "database have keys of their own",
				 *shown ? shown : "the whole database");
	return CODE_OK;
}

static void list_names(const struct grant_info *list, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		AUTO(free_ptr) char *shown = show_text(list[i].name);

		buf_printf(out, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", shown);
	}
}

int relay_grant_serve(struct service *s, struct out *out, int count, char **operands)
{
	AUTO(buf_fini) struct buf names = {0};
	AUTO(free_ptr)
	struct grant_info *list = xcalloc((size_t)count, sizeof(*list));
	struct relay_info info = {0};
	struct why why = {""};
	size_t n = 0;

	for (int i = 1; i < count; i++) {
		int code = find_collection(s, operands[i], &list[n++], out);

		if (code != CODE_OK)
			return code;
	}
	int r = net_relay_grant(s->net, operands[0], list, n, monotonic_ms() + CERT_MS, &why);
	if (r < 0)
		return out_error(out, CODE_FAILED, "relay: %s", why.text);
	list_names(list, n, &names);
	out_printf(out,
		   "Granted: the relay may read %s, and nothing else. It is among blaze devices.\n",
		   buf_str(&names));
	r = net_relay_wait_copy(s->net, operands[0], true, monotonic_ms() + COPY_MS, &info);
	if (r == 0)
		out_printf(out, "It has what is here.\n");
	else
		out_printf(out, "It does not have all of it yet%s%s: see blaze relay.\n",
			   info.copy_error[0] ? ": " : "", info.copy_error);
	return CODE_OK;
}

int relay_revoke_serve(struct service *s, struct out *out, const char *relay)
{
	struct relay_info info = {0};
	struct why why = {""};

	if (net_relay_revoke(s->net, relay, &why) < 0)
		return out_error(out, CODE_FAILED, "relay: %s", why.text);
	out_printf(out,
		   "Revoked: what is written from now on it cannot read. New keys are in use; other "
		   "devices follow when they hear of it.\n");
	int r = net_relay_wait_copy(s->net, relay, false, monotonic_ms() + COPY_MS, &info);
	if (r == 0)
		out_printf(out, "It says that it has erased its copy.\n");
	else
		out_printf(out,
			   "It has not said yet that it has erased its copy. What it could read, it "
			   "may have kept.\n");
	return CODE_OK;
}
