/*
 * Files without opens and closes (`-o noopen`). The kernel tells of lookups, reads and writes only, so a file's first
 * write gives it a writer of its own, a handle that nobody holds and that is closed when no write has come for a
 * moment. What a close promises is promised by each write: it is stored before it returns.
 */
#include "fs/bytes.h"

#include <fcntl.h>
#include <stdlib.h>

/** Without a write for so long, a writer has finished; */
#define QUIET_MS 40
/** one that left the file empty, or JSON that does not parse, is given more time. */
#define HALF_WRITTEN_MS LONG_OPEN_MS

void vfs_set_no_open(struct vfs *v)
{
	db_enter(v->db);
	v->no_open = true;
	db_leave(v->db);
}

/* ---- the list of writers, the one to be closed first in front ----------------------------------- */

static void unlist(struct vfs *v, struct inode *i)
{
	*(i->quiet_prev ? &i->quiet_prev->quiet_next : &v->quiet) = i->quiet_next;
	*(i->quiet_next ? &i->quiet_next->quiet_prev : &v->quiet_last) = i->quiet_prev;
	i->quiet_prev = i->quiet_next = NULL;
}

/* From the end: only few wait for longer than the one that wrote last. */
static void list(struct vfs *v, struct inode *i, uint64_t due_ms)
{
	struct inode *before = v->quiet_last;

	while (before && before->quiet_due_ms > due_ms)
		before = before->quiet_prev;
	i->quiet_due_ms = due_ms;
	i->quiet_prev = before;
	i->quiet_next = before ? before->quiet_next : v->quiet;
	*(before ? &before->quiet_next : &v->quiet) = i;
	*(i->quiet_next ? &i->quiet_next->quiet_prev : &v->quiet_last) = i;
	vfs_kick(v, due_ms);
}

static void adopt(struct vfs *v, struct inode *i, struct vfs_handle *h)
{
	i->quiet = h;
	list(v, i, monotonic_ms() + QUIET_MS);
}

void quiet_wrote(struct vfs *v, struct inode *i, pid_t pid)
{
	if (!v->no_open)
		return;
	i->writer = pid;
	if (i->quiet) {
		i->quiet_spared = false;
		unlist(v, i);
		list(v, i, monotonic_ms() + QUIET_MS);
		return;
	}
	struct vfs_handle *h = xcalloc(1, sizeof(*h));
	*h = (struct vfs_handle){.inode = i, .flags = O_WRONLY, .pid = pid};
	i->opens++;
	i->writers++;
	adopt(v, i, h);
}

void vfs_created(struct vfs *v, struct vfs_handle *h)
{
	struct inode *i = h->inode;

	db_enter(v->db);
	bool takes = (h->flags & O_ACCMODE) != O_RDONLY && !i->quiet;
	if (takes)
		adopt(v, i, h);
	db_leave(v->db);
	if (!takes)
		vfs_release(v, h);
}

int quiet_store(struct vfs *v, struct txn *t, struct inode *i)
{
	/* A file that the store names is written to by itself. */
	if (!v->no_open || i->gone || (i->file && i->file == i->stored_file))
		return 0;
	return bytes_store(v, t, i);
}

/* ---- closing them -------------------------------------------------------------------------------- */

uint64_t quiet_next_due(const struct vfs *v)
{
	return v->quiet ? v->quiet->quiet_due_ms : UINT64_MAX;
}

/* Whether its writer seems to be at it still; once only, for nothing says that it will go on. */
static bool is_spared(struct vfs *v, struct txn *t, struct inode *i)
{
	bool spared = !i->quiet_spared && !i->gone && !i->local && i->name &&
		      publish_is_half_written(v, t, i, i->name);

	i->quiet_spared = spared;
	return spared;
}

bool quiet_settle(struct vfs *v, uint64_t now_ms, bool all)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = v->quiet;

	if (!i || (!all && i->quiet_due_ms > now_ms)) {
		db_abort(t);
		return false;
	}
	unlist(v, i);
	if (!all && is_spared(v, t, i)) {
		list(v, i, now_ms + HALF_WRITTEN_MS);
		db_abort(t);
		return true;
	}
	struct vfs_handle *h = STEAL(i->quiet);
	uint64_t ino = i->ino;
	i->quiet_spared = false;
	db_abort(t);
	vfs_release(v, h);
	db_enter(v->db);
	i = ns_cached(v, ino);
	/* The kernel's pages are what it says now, unless it is about to be told of other content. */
	if (i && !i->dirty && !i->unpublished && i->notices == 0)
		bases_pages(v, i);
	db_leave(v->db);
	return true;
}

/* ---- a handle for one request ---------------------------------------------------------------------- */

int vfs_borrow(struct vfs *v, const struct vfs_caller *c, uint64_t ino, bool writes,
	       struct vfs_handle **ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	int r = !i ? -ESTALE : S_ISDIR(i->mode) ? -EISDIR : 0;

	if (r == 0) {
		*ret = xcalloc(1, sizeof(**ret));
		**ret = (struct vfs_handle){.inode = i, .flags = O_RDONLY, .pid = c->pid};
		i->opens++;
		if (writes)
			quiet_wrote(v, i, c->pid);
	}
	db_abort(t);
	return r;
}

void vfs_return(struct vfs *v, struct vfs_handle *h)
{
	vfs_release(v, h);
}
