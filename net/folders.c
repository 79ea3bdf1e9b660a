/* All folder relays of one database; the setting has a line each: '+' (to be made) or '=' (was there), and the path. */
#include "net/folders.h"

#include "core/log.h"
#include "core/thread.h"
#include "core/topology.h"

#include <stdlib.h>
#include <string.h>

struct item {
	struct folder *folder;
	char *path;
	bool fresh;
};

struct folders {
	struct db *db;
	const struct keys *keys;
	struct status *status;
	struct mutex lock;
	struct item items[FOLDERS_MAX]; /* protected by lock */
	size_t count;
};

static int save_locked(struct folders *f)
{
	AUTO(buf_fini) struct buf text = {0};

	for (size_t i = 0; i < f->count; i++)
		buf_printf(&text, "%c%s\n", f->items[i].fresh ? '+' : '=', f->items[i].path);
	return db_set_setting(f->db, TOPOLOGY_FOLDERS, buf_str(&text));
}

/* All is made that was missing: from now on a folder without it is one that is not mounted. */
static void made(void *ctx, const char *path)
{
	struct folders *f = ctx;
	int r = 0;

	mutex_lock(&f->lock);
	for (size_t i = 0; i < f->count; i++) {
		if (strcmp(f->items[i].path, path) != 0 || !f->items[i].fresh)
			continue;
		f->items[i].fresh = false;
		r = save_locked(f);
	}
	mutex_unlock(&f->lock);
	if (r < 0)
		log_warn("cannot remember a folder: %s, ignoring", strerror(-r));
}

static void start_locked(struct folders *f, const char *path, bool fresh)
{
	struct item *item = &f->items[f->count++];
	const struct folder_options o = {
		.db = f->db,
		.keys = f->keys,
		.status = f->status,
		.path = path,
		.fresh = fresh,
		.made = made,
		.ctx = f,
	};

	*item = (struct item){.path = xstrdup(path), .fresh = fresh};
	item->folder = folder_start(&o);
}

struct folders *folders_start(struct db *db, const struct keys *keys, struct status *status)
{
	struct folders *f = xcalloc(1, sizeof(*f));
	AUTO(free_ptr) char *text = NULL;
	char *rest = NULL;

	f->db = db;
	f->keys = keys;
	f->status = status;
	mutex_init(&f->lock);
	if (db_get_setting(db, TOPOLOGY_FOLDERS, &text) < 0)
		return f;
	mutex_lock(&f->lock);
	for (char *line = strtok_r(text, "\n", &rest); line && f->count < FOLDERS_MAX;
	     line = strtok_r(NULL, "\n", &rest)) {
		if ((line[0] == '+' || line[0] == '=') && line[1] == '/')
			start_locked(f, line + 1, line[0] == '+');
	}
	mutex_unlock(&f->lock);
	return f;
}

void folders_stop(struct folders *f)
{
	mutex_lock(&f->lock);
	for (size_t i = 0; i < f->count; i++)
		folder_stop(f->items[i].folder);
	mutex_unlock(&f->lock);
}

void folders_destroy(struct folders *f)
{
	uint64_t deadline = monotonic_ms() + FOLDERS_STOP_MS;

	if (!f)
		return;
	folders_stop(f);
	for (size_t i = 0; i < f->count; i++) {
		folder_join(f->items[i].folder, deadline);
		free(f->items[i].path);
	}
	mutex_fini(&f->lock);
	free(f);
}

size_t folders_list(struct folders *f, struct folder_info **ret)
{
	mutex_lock(&f->lock);
	size_t n = f->count;
	*ret = xcalloc(n, sizeof(**ret));
	for (size_t i = 0; i < n; i++)
		folder_info(f->items[i].folder, &(*ret)[i]);
	mutex_unlock(&f->lock);
	return n;
}

/* Takes it out of the list; the caller joins it, without the lock. NULL: it is not there. */
static struct folder *take_locked(struct folders *f, const char *path)
{
	for (size_t i = 0; i < f->count; i++) {
		if (strcmp(f->items[i].path, path) != 0)
			continue;
		struct folder *folder = f->items[i].folder;

		free(f->items[i].path);
		f->items[i] = f->items[--f->count];
		folder_stop(folder);
		return folder;
	}
	return NULL;
}

/* The others tell of themselves again as soon as they wake. */
static void join(struct folders *f, struct folder *folder)
{
	if (!folder)
		return;
	folder_join(folder, monotonic_ms() + FOLDERS_STOP_MS);
	status_clear_relays(f->status, PATH_FOLDER);
	mutex_lock(&f->lock);
	for (size_t i = 0; i < f->count; i++)
		folder_wake(f->items[i].folder);
	mutex_unlock(&f->lock);
}

int folders_add(struct folders *f, const char *path, struct why *why)
{
	int r = 0;

	mutex_lock(&f->lock);
	struct folder *old = take_locked(f, path);
	mutex_unlock(&f->lock);
	join(f, old); /* two threads must not write into one directory */
	mutex_lock(&f->lock);
	bool full = f->count == FOLDERS_MAX;
	if (!full) {
		start_locked(f, path, true);
		r = save_locked(f);
	}
	mutex_unlock(&f->lock);
	if (full)
		return why_set(why, -ENOSPC, "there are %d folders already: remove one first",
			       FOLDERS_MAX);
	return r < 0 ? why_set(why, r, "cannot remember the folder: %s", strerror(-r)) : 0;
}

int folders_remove(struct folders *f, const char *path, struct why *why)
{
	mutex_lock(&f->lock);
	struct folder *old = take_locked(f, path);
	int r = old ? save_locked(f) : -ENOENT;
	mutex_unlock(&f->lock);
	join(f, old);
	if (r == -ENOENT)
		return why_set(why, r, "no relay " FOLDERS_SCHEME "%s here: see blaze relay", path);
	return r < 0 ? why_set(why, r, "cannot forget the folder: %s", strerror(-r)) : 0;
}
