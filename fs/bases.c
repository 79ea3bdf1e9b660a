/*
 * See fs/bases.h. Epochs count the changes of content that came from elsewhere. A table remembers at which
 * epochs each thread opened or read which record, and of which process it was; a ring keeps what records were
 * before such a change. A reading's version is what the ring has from after its epoch, or the current one.
 */
#include "fs/bytes.h"

#include "core/db_chunks.h"
#include "core/diff.h"
#include "core/platform.h"
#include "core/zip.h"

#include <stdlib.h>
#include <string.h>

/** A file with more names than that does not get the whole table. */
#define NAMES_MAX 64
/**
 * Without opens, who reads what the kernel has in its pages is not seen; but nobody can have read more from them
 * than they hold, and they are dropped when content changes. This reader stands for all of those.
 */
#define PAGES_PID ((pid_t)-1)
/** Versions remembered of one thread and record. */
#define WAYS 4
/** A decoded document takes about so many times what it is made of. */
#define DECODED_FACTOR 10
/** What a kept version is packed with, and from what size on. */
#define ZIP_LEVEL 1
#define ZIP_BYTES_MIN 4096
/** For that long a thread is taken to be of the process it was. */
#define PROCESS_MS 10000
#define ANCESTORS_MAX 24
/** Marks an epoch, that of a snapshot of its own: not what the node was, but what a program takes it for. */
#define BASES_OWN (UINT64_C(1) << 63)

/* ---- the ring ------------------------------------------------------------------------------------ */

static bool is_kept(const struct snapshot *s)
{
	return s->doc || s->packed.data;
}

/* Ids are digests. */
static size_t slot_of(const struct id *node, size_t slots)
{
	return (node->b[0] | (size_t)node->b[1] << 8) % slots;
}

static void forget(struct vfs *v, struct snapshot *s)
{
	if (is_kept(s))
		v->snapshot_nodes[slot_of(&s->node, SNAPSHOT_SLOTS)]--;
	doc_destroy(s->doc);
	buf_fini(&s->packed);
	v->snapshot_bytes -= s->bytes;
	*s = (struct snapshot){0};
}

/* Takes ownership of the document, and of the bytes. */
static void keep(struct vfs *v, const struct snapshot *s)
{
	forget(v, &v->snapshots[v->next_snapshot]);
	for (size_t k = 0; k < SNAPSHOTS && v->snapshot_bytes + s->bytes > SNAPSHOT_BYTES_MAX; k++)
		forget(v, &v->snapshots[(v->next_snapshot + k) % SNAPSHOTS]);
	v->snapshots[v->next_snapshot] = *s;
	v->snapshot_nodes[slot_of(&s->node, SNAPSHOT_SLOTS)]++;
	v->snapshot_bytes += s->bytes;
	v->next_snapshot = (v->next_snapshot + 1) % SNAPSHOTS;
}

static bool has_snapshot(const struct vfs *v, const struct id *node)
{
	if (!v->snapshot_nodes[slot_of(node, SNAPSHOT_SLOTS)])
		return false;
	for (size_t k = 0; k < SNAPSHOTS; k++) {
		if (is_kept(&v->snapshots[k]) && id_eq(&v->snapshots[k].node, node))
			return true;
	}
	return false;
}

static const struct snapshot *snapshot_at(const struct vfs *v, const struct id *node, uint64_t epoch)
{
	const struct snapshot *found = NULL;

	if (!v->snapshot_nodes[slot_of(node, SNAPSHOT_SLOTS)])
		return NULL;
	for (size_t k = 0; k < SNAPSHOTS; k++) {
		const struct snapshot *s = &v->snapshots[k];

		if (!is_kept(s) || !id_eq(&s->node, node))
			continue;
		if (s->epoch_end == epoch && (epoch & BASES_OWN))
			return s;
		if (s->epoch_end > epoch && !(s->epoch_end & BASES_OWN) &&
		    (!found || s->epoch_end < found->epoch_end))
			found = s;
	}
	return found;
}

/* What a reading refers to, own snapshot or not. An own one that fell out of the ring counts as its time's. */
static const struct snapshot *version_of(const struct vfs *v, const struct id *node, uint64_t epoch)
{
	const struct snapshot *s = snapshot_at(v, node, epoch);

	return s || !(epoch & BASES_OWN) ? s : snapshot_at(v, node, epoch & ~BASES_OWN);
}

/* The version before this one, NULL = the current: as long as the ring goes back. */
static const struct snapshot *before(const struct vfs *v, const struct id *node,
				     const struct snapshot *s)
{
	const struct snapshot *found = NULL;

	if (!v->snapshot_nodes[slot_of(node, SNAPSHOT_SLOTS)])
		return NULL;
	for (size_t k = 0; k < SNAPSHOTS; k++) {
		const struct snapshot *other = &v->snapshots[k];

		if (is_kept(other) && !(other->epoch_end & BASES_OWN) &&
		    id_eq(&other->node, node) && (!s || other->epoch_end < s->epoch_end) &&
		    (!found || other->epoch_end > found->epoch_end))
			found = other;
	}
	return found;
}

/* A decoded document takes much, and hardly ever does somebody save from an old one. */
static void pack(struct snapshot *s, struct slice state, struct slice rendered)
{
	AUTO(buf_fini) struct buf plain = {0};
	AUTO(buf_fini) struct buf zipped = {0};

	buf_bytes(&plain, state);
	buf_slice_append(&plain, rendered);
	struct slice bytes = buf_slice(&plain);
	if (plain.len >= ZIP_BYTES_MIN) {
		zip_pack(bytes, ZIP_LEVEL, &zipped);
		bytes = buf_slice(&zipped);
		s->unzipped = plain.len;
	}
	s->packed.data = xmemdup(bytes.data, bytes.len);
	s->packed.len = s->packed.cap = bytes.len;
	s->bytes = sizeof(*s) + bytes.len;
}

static const struct doc *unpack(struct vfs *v, const struct snapshot *which)
{
	struct snapshot *s = &v->snapshots[which - v->snapshots];
	AUTO(buf_fini) struct buf plain = {0};

	if (s->doc)
		return s->doc;
	if (s->unzipped && zip_unpack(buf_slice(&s->packed), s->unzipped, &plain) < 0)
		return NULL;
	struct reader r = reader_init(buf_slice(s->unzipped ? &plain : &s->packed));
	struct slice state = reader_bytes(&r, reader_left(&r));
	if (r.bad || doc_decode(state, reader_take(&r, reader_left(&r)), &s->doc) < 0)
		return NULL;
	buf_fini(&s->packed);
	v->snapshot_bytes -= s->bytes;
	s->bytes = sizeof(*s) + DECODED_FACTOR * (s->unzipped ? plain.len : s->bytes);
	v->snapshot_bytes += s->bytes;
	return s->doc;
}

const struct doc *bases_doc(struct vfs *v, const struct id *node, uint64_t epoch)
{
	const struct snapshot *s = version_of(v, node, epoch);

	if (s && (s->epoch_end & BASES_OWN))
		return unpack(v, s);
	/* Beneath a text that hides the fields, nothing was to be seen. */
	for (const struct snapshot *b = before(v, node, s); b && b->hides_change;
	     b = before(v, node, b))
		s = b;
	return s ? unpack(v, s) : NULL;
}

/* ---- who is who ---------------------------------------------------------------------------------- */

static struct process process_of(struct vfs *v, pid_t tid)
{
	struct process *p = &v->processes[(size_t)tid % PROCESSES];
	uint64_t now = monotonic_ms();

	if (p->tid != tid || now > p->asked_ms + PROCESS_MS) {
		*p = (struct process){.tid = tid, .asked_ms = now};
		platform_process(tid, &p->pid, &p->parent);
	}
	return *p;
}

/* Those whose readings count: both processes and everybody above them. */
struct family {
	pid_t own[2 * ANCESTORS_MAX];
	size_t own_count;
	pid_t parents[4]; /**< those whose children's readings count where the others have none */
	size_t parent_count;
};

static bool is_in(pid_t pid, const pid_t *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] == pid)
			return true;
	}
	return false;
}

static void add_relatives(struct vfs *v, pid_t tid, struct family *f)
{
	if (tid <= 0)
		return;
	struct process p = process_of(v, tid);
	f->parents[f->parent_count++] = p.pid;
	if (p.parent > 1)
		f->parents[f->parent_count++] = p.parent;
	for (unsigned n = 0; n < ANCESTORS_MAX && p.pid > 1; n++) {
		if (!is_in(p.pid, f->own, f->own_count))
			f->own[f->own_count++] = p.pid;
		if (p.parent <= 1)
			break;
		p = process_of(v, p.parent);
	}
}

/* ---- readings ------------------------------------------------------------------------------------ */

/* The place for this reading: the same version's, or the oldest of its thread's few. */
static struct reading *place_for(struct vfs *v, const struct reading *r)
{
	size_t at = ((size_t)r->tid * 31 + r->node.b[0] + ((size_t)r->node.b[1] << 8)) %
		    (READINGS / WAYS) * WAYS;
	struct reading *oldest = &v->readings[at];

	for (size_t k = at; k < at + WAYS; k++) {
		struct reading *have = &v->readings[k];

		if (have->tid == r->tid && id_eq(&have->node, &r->node) &&
		    (have->epoch == r->epoch ||
		     version_of(v, &r->node, have->epoch) == version_of(v, &r->node, r->epoch)))
			return have;
		if (have->number < oldest->number)
			oldest = have;
	}
	return oldest;
}

static void put_reading(struct vfs *v, const struct reading *r)
{
	struct reading *place = place_for(v, r);

	if (place->tid)
		v->reading_nodes[slot_of(&place->node, READING_SLOTS)]--;
	*place = *r;
	v->reading_nodes[slot_of(&place->node, READING_SLOTS)]++;
}

static void note(struct vfs *v, struct reading r, const struct inode *i)
{
	r.epoch = shown_epoch(v, i);
	for (size_t k = 0; k <= i->link_count && k < NAMES_MAX; k++) {
		const struct link l = links_at(i, k);

		if (!l.bound)
			continue;
		r.node = l.node;
		r.number = ++v->reading_count;
		put_reading(v, &r);
	}
}

void bases_pages(struct vfs *v, const struct inode *i)
{
	note(v, (struct reading){.tid = PAGES_PID}, i);
}

void bases_read(struct vfs *v, pid_t pid, const struct inode *i)
{
	if (pid != 0 && (i->bound || i->link_count > 0)) {
		struct process p = process_of(v, pid);

		note(v, (struct reading){.tid = pid, .pid = p.pid, .parent = p.parent}, i);
	}
	if (v->no_open)
		bases_pages(v, i);
}

static bool was_read(const struct vfs *v, const struct id *node)
{
	if (!v->reading_nodes[slot_of(node, READING_SLOTS)])
		return false;
	for (size_t k = 0; k < READINGS; k++) {
		if (v->readings[k].tid && id_eq(&v->readings[k].node, node))
			return true;
	}
	return false;
}

static bool has_read(const struct vfs *v, const struct id *node, pid_t tid, pid_t pid)
{
	for (size_t k = 0; k < READINGS; k++) {
		const struct reading *r = &v->readings[k];

		if (r->tid && id_eq(&r->node, node) && (r->tid == tid || r->pid == pid))
			return true;
	}
	return false;
}

/* Whether a raw value was shown, and is now, byte for byte. */
static bool hides_change(struct txn *t, const struct id *node, struct slice state,
			 struct slice rendered)
{
	AUTO(buf_fini) struct buf old = {0};
	AUTO(buf_fini) struct buf now = {0};
	struct doc *doc = NULL;

	if (doc_decode(state, rendered, &doc) < 0)
		return false;
	bool raw = doc_mode(doc) == DOC_RAW;
	doc_destroy(doc);
	return raw && db_old_read(t, node, &old) == 0 && db_read(t, node, &now) == 0 &&
	       slice_eq(buf_slice(&old), buf_slice(&now));
}

void bases_keep(struct vfs *v, struct txn *t, const struct id *node, bool in_use)
{
	AUTO(node_info_fini) struct node_info info = {0};
	AUTO(buf_fini) struct buf state = {0};
	AUTO(buf_fini) struct buf rendered = {0};

	v->epoch++;
	bool known = db_node(t, node, &info) == 0;
	bool raw = known && info.raw && !info.chunked;
	if (!(in_use || raw || was_read(v, node)) || db_old_state(t, node, &state, &rendered) < 0)
		return;
	struct snapshot s = {.node = *node, .epoch_end = v->epoch};
	s.hides_change = raw && hides_change(t, node, buf_slice(&state), buf_slice(&rendered));
	pack(&s, buf_slice(&state), buf_slice(&rendered));
	keep(v, &s);
}

void bases_saved(struct vfs *v, const struct inode *i, const struct id *node, struct doc *own)
{
	const pid_t tids[] = {i->writer, i->mover};
	uint64_t epoch = v->epoch;
	bool any = false;

	if (!has_snapshot(v, node)) {
		doc_destroy(own);
		return;
	}
	if (own)
		epoch = BASES_OWN | ++v->epoch;
	for (size_t n = 0; n < countof(tids); n++) {
		struct process p = tids[n] > 0 ? process_of(v, tids[n]) : (struct process){0};

		if (tids[n] <= 0 || !has_read(v, node, tids[n], p.pid))
			continue;
		const struct reading r = {.node = *node,
					  .tid = tids[n],
					  .pid = p.pid,
					  .epoch = epoch,
					  .number = ++v->reading_count};
		put_reading(v, &r);
		any = true;
	}
	if (own && any)
		keep(v, &(struct snapshot){.node = *node,
					   .epoch_end = epoch,
					   .doc = STEAL(own),
					   .bytes = sizeof(struct snapshot) +
						    DECODED_FACTOR * (size_t)bytes_size(i)});
	doc_destroy(own);
}

/* ---- candidates ---------------------------------------------------------------------------------- */

static bool is_older(uint64_t a, uint64_t b)
{
	return (a & ~BASES_OWN) < (b & ~BASES_OWN);
}

static void add_epoch(const struct vfs *v, const struct id *node, struct bases *b, uint64_t epoch)
{
	const struct snapshot *version = version_of(v, node, epoch);
	size_t at = 0;

	for (size_t k = 0; k < b->count; k++) {
		if (version_of(v, node, b->epochs[k]) == version)
			return;
	}
	if (b->count == BASES_MAX && is_older(epoch, b->epochs[0]))
		return; /* there are newer ones enough */
	if (b->count == BASES_MAX)
		memmove(b->epochs, b->epochs + 1, --b->count * sizeof(b->epochs[0]));
	while (at < b->count && is_older(b->epochs[at], epoch))
		at++;
	memmove(b->epochs + at + 1, b->epochs + at, (b->count - at) * sizeof(b->epochs[0]));
	b->epochs[at] = epoch;
	b->count++;
}

static void add_pages(const struct vfs *v, const struct id *node, struct bases *b)
{
	const struct reading *newest = NULL;

	for (size_t k = 0; k < READINGS; k++) {
		const struct reading *r = &v->readings[k];

		if (r->tid == PAGES_PID && id_eq(&r->node, node) &&
		    (!newest || r->number > newest->number))
			newest = r;
	}
	if (newest)
		add_epoch(v, node, b, newest->epoch);
}

void bases_find(struct vfs *v, const struct id *node, const struct saver *s, struct bases *ret)
{
	struct family f = {0};

	*ret = (struct bases){.epochs = {s->otherwise}, .count = 1};
	if (!has_snapshot(v, node))
		return;
	ret->count = 0;
	add_relatives(v, s->pid, &f);
	if (s->writer != s->pid)
		add_relatives(v, s->writer, &f);
	for (size_t k = 0; k < READINGS; k++) {
		const struct reading *r = &v->readings[k];

		if (r->tid && id_eq(&r->node, node) &&
		    (r->tid == s->pid || r->tid == s->writer || is_in(r->pid, f.own, f.own_count)))
			add_epoch(v, node, ret, r->epoch);
	}
	if (ret->count == 0 && v->no_open)
		add_pages(v, node, ret);
	if (ret->count)
		return;
	for (size_t k = 0; k < READINGS; k++) {
		const struct reading *r = &v->readings[k];

		if (r->tid && id_eq(&r->node, node) && is_in(r->parent, f.parents, f.parent_count))
			add_epoch(v, node, ret, r->epoch);
	}
	add_epoch(v, node, ret, s->otherwise);
}

/* ---- the smallest difference ---------------------------------------------------------------------- */

/** A hurried comparison will do: it only has to tell which is nearer. */
#define DISTANCE_BUDGET (1u << 20)

static uint64_t distance(struct slice a, struct slice b)
{
	struct diff_edits edits = {0};
	uint64_t sum = 0;

	diff_text(a, b, DISTANCE_BUDGET, &edits);
	for (size_t k = 0; k < edits.count; k++)
		sum += edits.items[k].len + edits.items[k].text.len;
	diff_edits_fini(&edits);
	return sum;
}

const struct doc *bases_choose(struct vfs *v, struct txn *t, const struct id *node,
			       const struct bases *b, const struct saving *s)
{
	const struct doc *best = NULL;
	uint64_t least = UINT64_MAX;

	if (b->count == 1)
		return bases_doc(v, node, b->epochs[0]);
	for (size_t k = b->count; k-- > 0;) {
		AUTO(buf_fini) struct buf text = {0};
		const struct doc *doc = bases_doc(v, node, b->epochs[k]);
		bool newest = k + 1 == b->count;
		bool chunked = doc && doc_mode(doc) == DOC_CHUNKS;

		if (doc)
			doc_render(doc, &text);
		else if (db_shown(t, node, &text, &chunked) < 0)
			continue;
		bool same = chunked == s->chunked && slice_eq(buf_slice(&text), s->bytes);
		if (same && !newest)
			continue; /* a program that knows better goes back to it */
		uint64_t d = same		     ? 0
			     : chunked || s->chunked ? UINT64_MAX /* not worth reading all of it */
						     : 1 + distance(buf_slice(&text), s->bytes);
		if (newest || d < least) {
			best = doc;
			least = d;
		}
	}
	return best;
}

void bases_reset(struct inode *i, uint64_t epoch)
{
	free(i->bases);
	i->bases = NULL;
	i->base_epoch = i->whole_epoch = epoch;
	i->replaced = 0;
	i->took_over = false;
}

void bases_note(struct vfs *v, struct inode *i, const struct id *node, const struct saver *s,
		bool takes_over)
{
	struct bases found;

	bases_find(v, node, s, &found);
	bases_reset(i, shown_epoch(v, i));
	i->whole_epoch = found.epochs[0];
	i->took_over = takes_over;
	if (found.count > 1)
		i->bases = xmemdup(&found, sizeof(found));
}

const struct doc *bases_of(struct vfs *v, struct txn *t, const struct inode *i,
			   const struct id *node, const struct saving *s)
{
	/* A part written in place changes what is there now; a whole new content, what was read before. */
	if (!i->took_over && (i->replaced == 0 || i->replaced < bytes_size(i)))
		return bases_doc(v, node, i->base_epoch);
	return i->bases ? bases_choose(v, t, node, i->bases, s) : bases_doc(v, node, i->whole_epoch);
}

void bases_fini(struct vfs *v)
{
	for (size_t k = 0; k < SNAPSHOTS; k++)
		forget(v, &v->snapshots[k]);
}
