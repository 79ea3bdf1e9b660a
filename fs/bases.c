/*
 * Which version did the saving program read? Without this, a save made from an old reading would
 * silently undo what arrived in between.
 *
 * Epochs count the changes of content that came from elsewhere. A small table remembers at which epoch
 * each thread opened which record; a ring keeps what records were before such a change. A save is compared
 * with the version of its reader's epoch. Both are caches: what fell out of them counts as current.
 */
#include "fs/vfs_i.h"

#include "core/platform.h"

#include <stdlib.h>
#include <string.h>

/** A file with more names than that does not get the whole table. */
#define NAMES_MAX 64
/**
 * Without opens, who reads what the kernel has in its pages is not seen; but nobody can have read more from them
 * than they hold, and they are dropped when content changes. This reader stands for all of those.
 */
#define PAGES_PID ((pid_t)-1)

static size_t reading_slot(pid_t pid, const struct id *node)
{
	return ((size_t)pid * 31 + node->b[0] + ((size_t)node->b[1] << 8)) % READINGS;
}

static void note(struct vfs *v, pid_t pid, const struct inode *i)
{
	uint64_t epoch = shown_epoch(v, i);

	for (size_t k = 0; k <= i->link_count && k < NAMES_MAX; k++) {
		const struct link l = links_at(i, k);

		if (l.bound)
			v->readings[reading_slot(pid, &l.node)] =
				(struct reading){.node = l.node, .pid = pid, .epoch = epoch};
	}
}

void bases_pages(struct vfs *v, const struct inode *i)
{
	note(v, PAGES_PID, i);
}

void bases_read(struct vfs *v, pid_t pid, const struct inode *i)
{
	if (pid != 0)
		note(v, pid, i);
	if (v->no_open)
		bases_pages(v, i);
}

static bool has_snapshot(const struct vfs *v, const struct id *node)
{
	for (size_t k = 0; k < SNAPSHOTS; k++) {
		if (v->snapshots[k].doc && id_eq(&v->snapshots[k].node, node))
			return true;
	}
	return false;
}

uint64_t bases_epoch(const struct vfs *v, pid_t pid, const struct id *node, uint64_t otherwise)
{
	const struct reading *own = &v->readings[reading_slot(pid, node)];
	uint64_t found = otherwise;
	bool any = false;

	if (pid == 0 || !has_snapshot(v, node))
		return otherwise;
	if (own->pid == pid && id_eq(&own->node, node))
		return own->epoch;
	for (size_t k = 0; k < READINGS; k++) {
		const struct reading *r = &v->readings[k];

		if (r->pid == 0 || r->pid == PAGES_PID || !id_eq(&r->node, node) ||
		    !platform_same_process(pid, r->pid))
			continue;
		found = any && found > r->epoch ? found : r->epoch;
		any = true;
	}
	const struct reading *pages = &v->readings[reading_slot(PAGES_PID, node)];
	if (!any && v->no_open && pages->pid == PAGES_PID && id_eq(&pages->node, node))
		found = pages->epoch;
	return found;
}

const struct doc *bases_doc(const struct vfs *v, const struct id *node, uint64_t epoch)
{
	const struct snapshot *found = NULL;

	for (size_t k = 0; k < SNAPSHOTS; k++) {
		const struct snapshot *s = &v->snapshots[k];

		if (s->doc && s->epoch_end > epoch && id_eq(&s->node, node) &&
		    (!found || s->epoch_end < found->epoch_end))
			found = s;
	}
	return found ? found->doc : NULL;
}

static void forget(struct vfs *v, struct snapshot *s)
{
	doc_destroy(s->doc);
	v->snapshot_bytes -= s->bytes;
	*s = (struct snapshot){0};
}

static bool was_read(const struct vfs *v, const struct id *node)
{
	for (size_t k = 0; k < READINGS; k++) {
		if (v->readings[k].pid && id_eq(&v->readings[k].node, node))
			return true;
	}
	return false;
}

void bases_keep(struct vfs *v, struct txn *t, const struct id *node, bool in_use)
{
	struct node_info info = {0};
	struct doc *doc = NULL;

	v->epoch++;
	if (!in_use && !was_read(v, node))
		return;
	if (db_old_doc(t, node, &doc) < 0)
		return;
	bool known = db_node(t, node, &info) == 0;
	/* Of content in chunks, what is kept is the manifest. */
	size_t bytes = 256 + (known ? (size_t)(info.chunked ? info.size >> 10 : info.size) : 0);
	node_info_fini(&info);
	forget(v, &v->snapshots[v->next_snapshot]);
	for (size_t k = 0; k < SNAPSHOTS && v->snapshot_bytes + bytes > SNAPSHOT_BYTES_MAX; k++)
		forget(v, &v->snapshots[(v->next_snapshot + k) % SNAPSHOTS]);
	v->snapshots[v->next_snapshot] =
		(struct snapshot){.node = *node, .epoch_end = v->epoch, .doc = doc, .bytes = bytes};
	v->snapshot_bytes += bytes;
	v->next_snapshot = (v->next_snapshot + 1) % SNAPSHOTS;
}

void bases_fini(struct vfs *v)
{
	for (size_t k = 0; k < SNAPSHOTS; k++)
		forget(v, &v->snapshots[k]);
}
