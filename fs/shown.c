/*
 * Which version of a record its readers see while another device changes it.
 *
 * The kernel drops a file's pages one by one, and its size before or after them; a program that reads just then
 * would get the head of one version and the tail of another, or zeros. So whoever opened the file a moment ago
 * is shown what was there until he has closed it, and nobody opens it between the decision to show the new
 * version and the kernel's word that the old pages are gone. Both wait for a fraction of a second at most: who
 * keeps a file open for longer sees its changes, as on a local disk.
 */
#include "fs/bytes.h"

#include <stdlib.h>

/** Who opened the file that long ago reads it no more, or watches it. */
#define YOUNG_MS 100
/** From then on further readers wait, so that those who read can come to an end; */
#define GATE_MS 100
/** and then it is enough. */
#define HOLD_MAX_MS 250

bool shown_hold(struct vfs *v, struct txn *t, struct inode *i, uint64_t new_size)
{
	uint64_t now = monotonic_ms();

	if (i->held_ms)
		return true;
	if (i->opens == 0 || now > i->reader_ms + YOUNG_MS || (i->size == 0 && new_size == 0))
		return false;
	if (!i->file && !i->loaded && bytes_load_old(v, t, i) < 0)
		return false;
	i->held_ms = now;
	i->held_epoch = v->epoch - 1; /* bases_keep() has counted the change already */
	i->next_held = v->held;
	v->held = i;
	vfs_kick(v, now + HOLD_MAX_MS);
	return true;
}

void shown_forget(struct vfs *v, struct inode *i)
{
	if (!i->held_ms)
		return;
	for (struct inode **p = &v->held; *p; p = &(*p)->next_held) {
		if (*p == i) {
			*p = i->next_held;
			break;
		}
	}
	i->held_ms = 0;
}

void shown_switch(struct vfs *v, struct txn *t, struct inode *i)
{
	shown_forget(v, i);
	bytes_drop(v, i);
	project_modified(v, t, i);
}

void shown_settle(struct vfs *v, struct txn *t, uint64_t now_ms)
{
	for (struct inode *i = v->held, *next; i; i = next) {
		next = i->next_held;
		if (now_ms >= i->held_ms + HOLD_MAX_MS)
			shown_switch(v, t, i);
	}
}

uint64_t shown_next_due(const struct vfs *v)
{
	uint64_t next = UINT64_MAX;

	for (const struct inode *i = v->held; i; i = i->next_held)
		next = i->held_ms + HOLD_MAX_MS < next ? i->held_ms + HOLD_MAX_MS : next;
	return next;
}

uint64_t shown_epoch(const struct vfs *v, const struct inode *i)
{
	return i->held_ms ? i->held_epoch : v->epoch;
}

/* ---- opens that wait ---------------------------------------------------------------------------- */

bool shown_must_wait(const struct vfs *v, const struct inode *i)
{
	if (!v->is_mounted) /* nobody will drop the pages */
		return false;
	return i->notices > 0 || (i->held_ms && monotonic_ms() > i->held_ms + GATE_MS);
}

void vfs_open_later(struct vfs *v, uint64_t ino, void (*retry)(void *ctx), void *ctx)
{
	struct shown_waiter *w = xcalloc(1, sizeof(*w));
	struct txn *t = db_begin(v->db);
	const struct inode *i = ns_cached(v, ino);
	bool wait = i && shown_must_wait(v, i);

	if (wait) {
		*w = (struct shown_waiter){.retry = retry, .ctx = ctx, .next = v->waiters};
		v->waiters = w;
	}
	db_abort(t);
	if (!wait) { /* that was quick */
		free(w);
		retry(ctx);
	}
}

struct shown_waiter *shown_take_waiters(struct vfs *v)
{
	return STEAL(v->waiters);
}
