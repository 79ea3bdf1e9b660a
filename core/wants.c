/* The table of missing chunks and the list of manifests that miss them. */
#include "core/wants.h"

#include <stdlib.h>
#include <string.h>

/** Manifests of at most that many chunks are looked up while they are applied. */
#define SMALL_MANIFEST_CHUNKS 256
/** Chunks asked for one want before it is the next one's turn. */
#define TURN_CHUNKS 8

struct missing {
	struct chunk_id id;
	uint64_t length;
	uint32_t refs;	 /* entries of wants */
	bool arrived;	 /* in a pack, and not in the index yet */
	uint64_t asked;	 /* the peer, or 0 */
	uint64_t serial; /* of the want it was asked for */
	struct missing *next;
};

/* ---- the table ----------------------------------------------------------------------------------- */

static struct missing **slot_of(const struct wants *w, const struct chunk_id *id)
{
	uint64_t h = 0;

	memcpy(&h, id->b, sizeof(h));
	h = (h ^ w->salt) * UINT64_C(0xff51afd7ed558ccd);
	return &w->slots[(size_t)(h >> 32) & (w->slot_count - 1)];
}

static struct missing **find(const struct wants *w, const struct chunk_id *id)
{
	static struct missing *none;

	if (w->slot_count == 0)
		return &none;
	struct missing **at = slot_of(w, id);
	while (*at && !chunk_id_eq(&(*at)->id, id))
		at = &(*at)->next;
	return at;
}

static void grow(struct wants *w)
{
	struct missing **old = w->slots;
	size_t old_count = w->slot_count;

	if (!w->salt)
		random_bytes(&w->salt, sizeof(w->salt));
	w->slot_count = old_count ? old_count * 4 : 256;
	w->slots = xcalloc(w->slot_count, sizeof(struct missing *));
	for (size_t i = 0; i < old_count; i++) {
		for (struct missing *m = old[i], *next; m; m = next) {
			struct missing **slot = slot_of(w, &m->id);

			next = m->next;
			m->next = *slot;
			*slot = m;
		}
	}
	free(old);
}

static void add_missing(struct wants *w, const struct chunk_id *id, uint64_t length, bool arrived)
{
	if (w->missing_count >= w->slot_count)
		grow(w);
	struct missing **at = find(w, id);
	if (*at) {
		(*at)->refs++;
		return;
	}
	*at = xcalloc(1, sizeof(struct missing));
	**at = (struct missing){.id = *id, .length = length, .refs = 1, .arrived = arrived};
	w->missing_count++;
	w->missing_bytes += arrived ? 0 : length;
}

static void drop(struct wants *w, struct missing **at)
{
	struct missing *m = *at;

	w->missing_count--;
	w->missing_bytes -= m->arrived ? 0 : m->length;
	*at = m->next;
	free(m);
}

bool wants_is_missing(const struct wants *w, const struct chunk_id *id, uint64_t *ret_length)
{
	const struct missing *m = *find(w, id);

	if (!m || m->arrived)
		return false;
	if (ret_length)
		*ret_length = m->length;
	return true;
}

void wants_arrived(struct wants *w, const struct chunk_id *id)
{
	struct missing *m = *find(w, id);

	if (!m || m->arrived)
		return;
	m->arrived = true;
	w->missing_bytes -= m->length;
}

void wants_settled(struct wants *w, const struct chunk_id *id)
{
	struct missing **at = find(w, id);

	if (*at)
		drop(w, at);
}

/* ---- the list ------------------------------------------------------------------------------------ */

void wants_add(struct wants *w, const struct want *like)
{
	if (wants_find(w, &like->node, like->op))
		return;
	w->items = xreallocarray(w->items, w->count + 1, sizeof(*w->items));
	struct want *want = &w->items[w->count++];
	*want = *like;
	want->m = NULL;
	want->repair = want->partial = false;
	want->scanned = want->first = want->ask = 0;
	want->serial = ++w->serial;
}

static struct opid repair_of(const struct chunk_id *id)
{
	struct reader r = reader_init(SLICE(id->b, sizeof(id->b)));
	struct opid op = {.lamport = reader_be64(&r)};

	op.actor = reader_be64(&r);
	return op;
}

void wants_add_repair(struct wants *w, const struct chunk_id *id, uint64_t length)
{
	struct want like = {.seq = UINT64_MAX, .op = repair_of(id)}; /* of no feed */

	if (wants_find(w, &like.node, like.op))
		return;
	wants_add(w, &like);
	struct want *want = &w->items[w->count - 1];
	want->repair = true;
	want->m = manifest_create(CHUNK_ORDER_MIN);
	manifest_add(want->m, id, length);
	w->repair_count++;
}

struct want *wants_find(const struct wants *w, const struct id *node, struct opid op)
{
	for (size_t i = 0; i < w->count; i++) {
		if (opid_eq(w->items[i].op, op) && id_eq(&w->items[i].node, node))
			return &w->items[i];
	}
	return NULL;
}

static void forget_list(struct wants *w, struct want *want)
{
	for (size_t i = want->first; want->m && i < want->scanned; i++) {
		struct missing **at = find(w, &want->m->entries[i].id);

		if (*at && --(*at)->refs == 0)
			drop(w, at);
	}
	manifest_unref(STEAL(want->m));
}

void wants_look_again(struct wants *w, struct want *want)
{
	forget_list(w, want);
	want->partial = false;
	want->scanned = want->first = want->ask = 0;
	want->serial = ++w->serial; /* who lacked the parts may have the chunks */
}

void wants_remove(struct wants *w, const struct id *node, struct opid op)
{
	struct want *want = wants_find(w, node, op);

	if (!want)
		return;
	forget_list(w, want);
	w->repair_count -= want->repair;
	*want = w->items[--w->count];
}

void wants_drop_repair(struct wants *w, const struct chunk_id *id)
{
	static const struct id none;

	if (w->repair_count)
		wants_remove(w, &none, repair_of(id));
}

void wants_fini(struct wants *w)
{
	for (size_t i = 0; i < w->count; i++)
		manifest_unref(w->items[i].m);
	for (size_t i = 0; i < w->slot_count; i++) {
		while (w->slots[i])
			drop(w, &w->slots[i]);
	}
	free(w->items);
	free(w->slots);
	*w = (struct wants){0};
}

uint64_t wants_limit(const struct wants *w, const struct id *stream, uint64_t actor, uint64_t seq)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct want *want = &w->items[i];

		if (want->op.actor == actor && want->seq <= seq && id_eq(&want->stream, stream))
			seq = want->seq - 1;
	}
	return seq;
}

/* ---- looking up ---------------------------------------------------------------------------------- */

static bool is_here(struct packs *p, const struct chunk_id *ids, size_t count)
{
	bool all = true;

	for (size_t i = 0; all && i < count; i++)
		all = packs_state(p, &ids[i]) == PACKS_INDEXED;
	return all;
}

bool wants_have_all(struct packs *p, const struct manifest_store *parts, struct slice manifest)
{
	struct manifest *m = NULL;

	/* The second byte is the order: that many chunks there are, about. */
	if (manifest_size(manifest) >> manifest.data[1] > SMALL_MANIFEST_CHUNKS ||
	    manifest_decode(manifest, parts, &m, NULL) < 0)
		return false;
	bool all = is_here(p, m->parts, m->part_count);
	for (size_t i = 0; all && i < m->count; i++)
		all = chunk_id_is_zero(&m->entries[i].id) || is_here(p, &m->entries[i].id, 1);
	manifest_unref(m);
	return all;
}

struct manifest *wants_list(struct manifest *m)
{
	if (m->part_count == 0)
		return manifest_ref(m);
	struct manifest *list = manifest_create(m->order);
	for (size_t i = 0; i < m->part_count; i++)
		manifest_add(list, &m->parts[i], MANIFEST_PART_BYTES);
	for (size_t i = 0; i < m->count; i++) {
		if (!chunk_id_is_zero(&m->entries[i].id))
			manifest_add(list, &m->entries[i].id, manifest_length(m, i));
	}
	return list;
}

static void scan_one(struct wants *w, struct packs *p, struct want *want, size_t *left)
{
	for (; *left && want->scanned < want->m->count; want->scanned++, --*left) {
		const struct chunk_id *id = &want->m->entries[want->scanned].id;
		enum packs_state state = chunk_id_is_zero(id) ? PACKS_INDEXED : packs_state(p, id);

		if (state != PACKS_INDEXED)
			add_missing(w, id, manifest_length(want->m, want->scanned),
				    state == PACKS_FRESH);
	}
}

bool wants_scan(struct wants *w, struct packs *p, size_t max)
{
	for (size_t i = 0; max && i < w->count; i++) {
		if (w->items[i].m)
			scan_one(w, p, &w->items[i], &max);
	}
	return max == 0;
}

/* Moves on past what is here. */
static bool is_complete(const struct wants *w, struct want *want)
{
	while (want->first < want->scanned && !*find(w, &want->m->entries[want->first].id))
		want->first++;
	return want->m && want->first == want->m->count;
}

struct want *wants_complete(struct wants *w)
{
	for (size_t i = 0; i < w->count; i++) {
		if (is_complete(w, &w->items[i]))
			return &w->items[i];
	}
	return NULL;
}

/* ---- asking -------------------------------------------------------------------------------------- */

static bool is_lacked(const struct wants_asking *a, uint64_t serial)
{
	for (size_t i = 0; i < a->lacked_count; i++) {
		if (a->lacked[i] == serial)
			return true;
	}
	return false;
}

/** What was found so far. */
struct found {
	struct chunk_id *ids;
	size_t count;
	uint64_t bytes;
};

static void ask_one(struct wants *w, struct want *want, const struct wants_asking *a,
		    struct found *f)
{
	size_t turn = 0;

	for (; want->ask < want->scanned && turn < TURN_CHUNKS && f->count < a->count_max &&
	       (f->bytes == 0 || f->bytes < a->bytes_max);
	     want->ask++) {
		struct missing *m = *find(w, &want->m->entries[want->ask].id);

		if (!m || m->arrived || m->asked)
			continue;
		m->asked = a->peer;
		m->serial = want->serial;
		f->ids[f->count++] = m->id;
		f->bytes += m->length;
		turn++;
	}
}

size_t wants_ask(struct wants *w, const struct wants_asking *a, struct chunk_id *ret)
{
	struct found f = {.ids = ret};
	size_t before = 0;

	do {
		before = f.count;
		for (size_t i = 0; i < w->count && f.count < a->count_max &&
				   (f.bytes == 0 || f.bytes < a->bytes_max);
		     i++) {
			struct want *want = &w->items[w->turn++ % w->count];

			if (want->m && !is_lacked(a, want->serial))
				ask_one(w, want, a, &f);
		}
	} while (f.count > before && f.count < a->count_max && f.bytes < a->bytes_max);
	return f.count;
}

/* Everything is to be asked for again that was not, or in vain. */
static void ask_again(struct wants *w)
{
	for (size_t i = 0; i < w->count; i++)
		w->items[i].ask = w->items[i].first;
}

uint64_t wants_lacked(struct wants *w, uint64_t peer, const struct chunk_id *id)
{
	struct missing *m = *find(w, id);

	if (!m || m->arrived || m->asked != peer)
		return 0;
	m->asked = 0;
	ask_again(w);
	return m->serial;
}

void wants_unask(struct wants *w, uint64_t peer)
{
	for (size_t i = 0; i < w->slot_count; i++) {
		for (struct missing *m = w->slots[i]; m; m = m->next)
			m->asked = m->asked == peer ? 0 : m->asked;
	}
	ask_again(w);
}
