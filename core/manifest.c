/* Manifests: building, encoding, decoding what may come from a stranger. */
#include "core/manifest.h"

#include "core/thread.h"

#include <stdlib.h>
#include <string.h>

#define MANIFEST_VERSION 2
/** A list of at most that many is not cut. */
#define ROOT_ENTRIES 64
/** One in so many entries ends a part, which has at least and at most that many. */
#define PART_ENTRIES 64
#define PART_ENTRIES_MIN 16
#define PART_ENTRIES_MAX 512

/* All that are sealed. */
static struct mutex all_lock = MUTEX_STATIC;
static struct manifest *all;

static void enlist(struct manifest *m)
{
	mutex_lock(&all_lock);
	if (!m->at) {
		m->next = all;
		m->at = &all;
		if (all)
			all->at = &m->next;
		all = m;
	}
	mutex_unlock(&all_lock);
}

static void delist(struct manifest *m)
{
	mutex_lock(&all_lock);
	if (m->at) {
		*m->at = m->next;
		if (m->next)
			m->next->at = m->at;
	}
	mutex_unlock(&all_lock);
}

void manifest_each(void (*fn)(void *ctx, const struct manifest *m), void *ctx)
{
	mutex_lock(&all_lock);
	for (const struct manifest *m = all; m; m = m->next)
		fn(ctx, m);
	mutex_unlock(&all_lock);
}

struct manifest *manifest_create(unsigned order)
{
	struct manifest *m = xcalloc(1, sizeof(*m));

	m->order = order;
	m->refs = 1;
	return m;
}

struct manifest *manifest_ref(struct manifest *m)
{
	(void)__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
	return m;
}

void manifest_unref(struct manifest *m)
{
	if (!m || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	delist(m);
	free(m->entries);
	free(m->parts);
	buf_fini(&m->root);
	free(m);
}

void manifest_add(struct manifest *m, const struct chunk_id *id, uint64_t length)
{
	if (length == 0)
		return;
	if (m->count == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 16;
		m->entries = xreallocarray(m->entries, m->cap, sizeof(*m->entries));
	}
	m->entries[m->count++] = (struct manifest_entry){.id = *id, .offset = m->size};
	m->size += length;
}

void manifest_add_hole(struct manifest *m, uint64_t length)
{
	static const struct chunk_id hole;

	if (m->count && chunk_id_is_zero(&m->entries[m->count - 1].id))
		m->size += length;
	else
		manifest_add(m, &hole, length);
}

uint64_t manifest_length(const struct manifest *m, size_t entry)
{
	uint64_t end = entry + 1 < m->count ? m->entries[entry + 1].offset : m->size;

	return end - m->entries[entry].offset;
}

size_t manifest_find(const struct manifest *m, uint64_t offset)
{
	size_t lo = 0;
	size_t hi = m->count;

	assert(offset < m->size);
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->entries[mid].offset <= offset)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static void put_entries(const struct manifest *list, size_t from, size_t to, unsigned level,
			struct buf *out)
{
	buf_u8(out, (uint8_t)level);
	for (size_t i = from; i < to; i++) {
		bool hole = chunk_id_is_zero(&list->entries[i].id);

		buf_varint(out, manifest_length(list, i) << 1 | hole);
		if (!hole)
			buf_append(out, list->entries[i].id.b, CHUNK_ID_BYTES);
	}
}

/* The end of the part that begins at this entry. */
static size_t part_end(const struct manifest *list, size_t from)
{
	size_t left = list->count - from;
	size_t max = left < PART_ENTRIES_MAX ? left : PART_ENTRIES_MAX;

	for (size_t n = PART_ENTRIES_MIN; n < max; n++) {
		const struct chunk_id *last = &list->entries[from + n - 1].id;

		if (last->b[0] % PART_ENTRIES == 0 && !chunk_id_is_zero(last))
			return from + n;
	}
	return from + max;
}

static void add_part(struct manifest *m, const struct chunk_id *id)
{
	/* Room grows at powers of two. */
	if ((m->part_count & (m->part_count - 1)) == 0)
		m->parts = xreallocarray(m->parts, m->part_count ? m->part_count * 2 : 1,
					 sizeof(*m->parts));
	m->parts[m->part_count++] = *id;
}

/* The list of the parts that a list is cut into. */
static int cut_list(struct manifest *m, const struct manifest *list, unsigned level,
		    const struct manifest_store *s, struct manifest *ret)
{
	AUTO(buf_fini) struct buf part = {0};

	for (size_t from = 0, to = 0; from < list->count; from = to) {
		struct chunk_id id;
		uint64_t start = list->entries[from].offset;

		to = part_end(list, from);
		uint64_t end = to < list->count ? list->entries[to].offset : list->size;
		buf_clear(&part);
		put_entries(list, from, to, level, &part);
		int r = s->put(s->ctx, buf_slice(&part), &id);
		if (r < 0)
			return r;
		add_part(m, &id);
		manifest_add(ret, &id, end - start);
	}
	return 0;
}

int manifest_seal(struct manifest *m, const struct manifest_store *s)
{
	struct manifest *list = manifest_ref(m);
	unsigned level = 0;
	int r = m->count > MANIFEST_ENTRIES_MAX ? -EFBIG : 0;

	m->part_count = 0;
	for (; r == 0 && list->count > ROOT_ENTRIES; level++) {
		struct manifest *above = manifest_create(m->order);

		r = level < MANIFEST_LEVELS_MAX ? cut_list(m, list, level, s, above) : -EFBIG;
		manifest_unref(list);
		list = above;
	}
	if (r == 0) {
		buf_clear(&m->root);
		buf_u8(&m->root, MANIFEST_VERSION);
		buf_u8(&m->root, (uint8_t)m->order);
		buf_varint(&m->root, m->size);
		put_entries(list, 0, list->count, level, &m->root);
		enlist(m);
	}
	manifest_unref(list);
	return r;
}

void manifest_encode(const struct manifest *m, struct buf *out)
{
	assert(m->root.len);
	buf_slice_append(out, buf_slice(&m->root));
}

/* ---- reading ------------------------------------------------------------------------------------- */

struct decoder {
	const struct manifest_store *store;
	struct manifest *m;	  /* NULL: only whether it is sound */
	struct manifest *lacking; /* parts that could not be got */
	bool after_hole;
};

static void take_header(struct reader *r, unsigned *ret_order, uint64_t *ret_size)
{
	if (reader_u8(r) != MANIFEST_VERSION)
		r->bad = true;
	*ret_order = reader_u8(r);
	*ret_size = reader_varint_max(r, MANIFEST_FILE_BYTES_MAX);
	if (*ret_order < CHUNK_ORDER_MIN || *ret_order > CHUNK_ORDER_MAX)
		r->bad = true;
}

/* Reads an entry; the length is 0 when it is malformed. */
static uint64_t take_entry(struct reader *r, unsigned level, struct chunk_id *ret, bool after_hole)
{
	uint64_t head = reader_varint_max(r, MANIFEST_FILE_BYTES_MAX << 1 | 1);
	uint64_t length = head >> 1;
	bool hole = head & 1;

	*ret = (struct chunk_id){{0}};
	if (!hole)
		reader_copy(r, ret->b, sizeof(ret->b));
	if ((hole && (after_hole || level > 0)) || (!hole && chunk_id_is_zero(ret)) ||
	    (!hole && level == 0 && length > CHUNK_BYTES_MAX))
		r->bad = true;
	return r->bad ? 0 : length;
}

static int take_list(struct decoder *d, struct reader *r, unsigned level, uint64_t size);

/* One part, with what is in it. It stands for so many bytes of the file. */
static int take_part(struct decoder *d, const struct chunk_id *id, unsigned level, uint64_t size)
{
	AUTO(buf_fini) struct buf bytes = {0};

	if (!d->m)
		return 0;
	add_part(d->m, id);
	if (d->m->part_count > MANIFEST_ENTRIES_MAX)
		return -EBADMSG;
	if (!d->store || d->store->get(d->store->ctx, id, &bytes) < 0) {
		manifest_add(d->lacking, id, MANIFEST_PART_BYTES);
		d->after_hole = false;
		return 0;
	}
	struct reader r = reader_init(buf_slice(&bytes));
	if (bytes.len > MANIFEST_PART_BYTES_MAX || reader_u8(&r) != level)
		return -EBADMSG;
	return take_list(d, &r, level, size);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as levels go */
static int take_list(struct decoder *d, struct reader *r, unsigned level, uint64_t size)
{
	uint64_t sum = 0;

	while (!r->bad && reader_left(r)) {
		struct chunk_id id;
		uint64_t length = take_entry(r, level, &id, d->after_hole);

		if (length == 0 || length > size - sum)
			return -EBADMSG;
		sum += length;
		if (level > 0) {
			int e = take_part(d, &id, level - 1, length);

			if (e < 0)
				return e;
			continue;
		}
		d->after_hole = chunk_id_is_zero(&id);
		if (d->m && d->m->count == MANIFEST_ENTRIES_MAX)
			return -EBADMSG;
		if (d->m)
			manifest_add(d->m, &id, length);
	}
	return r->bad || sum != size ? -EBADMSG : 0;
}

static int decode(struct decoder *d, struct slice bytes)
{
	struct reader r = reader_init(bytes);
	unsigned order = 0;
	uint64_t size = 0;

	if (bytes.len > MANIFEST_PART_BYTES_MAX)
		return -EBADMSG;
	take_header(&r, &order, &size);
	unsigned level = reader_u8(&r);
	if (level > MANIFEST_LEVELS_MAX)
		r.bad = true;
	if (d->m)
		d->m->order = order;
	return r.bad ? -EBADMSG : take_list(d, &r, level, size);
}

int manifest_decode(struct slice bytes, const struct manifest_store *s, struct manifest **ret,
		    struct manifest **ret_lacking)
{
	struct decoder d = {
		.store = s, .m = manifest_create(0), .lacking = manifest_create(CHUNK_ORDER_MIN)};
	int r = decode(&d, bytes);

	if (r == 0 && d.lacking->count)
		r = -ENOENT;
	if (r == 0) {
		buf_slice_append(&d.m->root, bytes);
		enlist(d.m);
		*ret = STEAL(d.m);
	} else if (r == -ENOENT && ret_lacking) {
		*ret_lacking = STEAL(d.lacking);
	}
	manifest_unref(d.m);
	manifest_unref(d.lacking);
	return r;
}

void manifest_mark_known(struct slice bytes, const struct manifest_store *s,
			 void (*fn)(void *ctx, const struct manifest *m), void *ctx)
{
	struct decoder d = {
		.store = s, .m = manifest_create(0), .lacking = manifest_create(CHUNK_ORDER_MIN)};

	(void)decode(&d, bytes);
	fn(ctx, d.m);
	manifest_unref(d.m);
	manifest_unref(d.lacking);
}

bool manifest_is_sound(struct slice bytes)
{
	struct decoder d = {0};

	return decode(&d, bytes) == 0;
}

uint64_t manifest_size(struct slice bytes)
{
	struct reader r = reader_init(bytes);
	unsigned order = 0;
	uint64_t size = 0;

	take_header(&r, &order, &size);
	return r.bad ? 0 : size;
}
