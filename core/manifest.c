/* Manifests: building, encoding, decoding what may come from a stranger. */
#include "core/manifest.h"

#include <stdlib.h>
#include <string.h>

#define MANIFEST_VERSION 1

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
	free(m->entries);
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

void manifest_encode(const struct manifest *m, struct buf *out)
{
	buf_u8(out, MANIFEST_VERSION);
	buf_u8(out, (uint8_t)m->order);
	buf_varint(out, m->size);
	for (size_t i = 0; i < m->count; i++) {
		bool hole = chunk_id_is_zero(&m->entries[i].id);

		buf_varint(out, manifest_length(m, i) << 1 | hole);
		if (!hole)
			buf_append(out, m->entries[i].id.b, CHUNK_ID_BYTES);
	}
}

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
static uint64_t take_entry(struct reader *r, struct chunk_id *ret, bool after_hole)
{
	uint64_t head = reader_varint_max(r, MANIFEST_FILE_BYTES_MAX << 1 | 1);
	uint64_t length = head >> 1;
	bool hole = head & 1;

	*ret = (struct chunk_id){{0}};
	if (!hole)
		reader_copy(r, ret->b, sizeof(ret->b));
	if ((hole && after_hole) || (!hole && (length > CHUNK_BYTES_MAX || chunk_id_is_zero(ret))))
		r->bad = true;
	return r->bad ? 0 : length;
}

static int decode(struct slice bytes, struct manifest *m)
{
	struct reader r = reader_init(bytes);
	uint64_t size = 0;
	uint64_t sum = 0;
	bool after_hole = false;

	if (bytes.len > MANIFEST_BYTES_MAX)
		return -EBADMSG;
	unsigned order = 0;
	take_header(&r, &order, &size);
	if (m)
		m->order = order;
	while (!r.bad && reader_left(&r)) {
		struct chunk_id id;
		uint64_t length = take_entry(&r, &id, after_hole);

		if (length == 0 || length > size - sum)
			return -EBADMSG;
		sum += length;
		after_hole = chunk_id_is_zero(&id);
		if (m)
			manifest_add(m, &id, length);
	}
	return r.bad || sum != size ? -EBADMSG : 0;
}

int manifest_decode(struct slice bytes, struct manifest **ret)
{
	struct manifest *m = manifest_create(0);
	int r = decode(bytes, m);

	if (r < 0) {
		manifest_unref(m);
		return r;
	}
	*ret = m;
	return 0;
}

bool manifest_is_sound(struct slice bytes)
{
	return decode(bytes, NULL) == 0;
}

uint64_t manifest_size(struct slice bytes)
{
	struct reader r = reader_init(bytes);
	unsigned order = 0;
	uint64_t size = 0;

	take_header(&r, &order, &size);
	return r.bad ? 0 : size;
}
