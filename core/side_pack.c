/* Columns of keys and values; see side_pack.h. */
#include "core/side_pack.h"

#include "core/zip.h"

#include <stdlib.h>
#include <string.h>

#define PACK_VERSION 1
#define PACK_LEVEL 9
/** Kind and root, then lamport and actor: the keys of which there are many. */
#define HEAD_BYTES 17
#define EVENT_BYTES (HEAD_BYTES + 16)
#define KEY_BYTES_MAX 64
/** More authors have no number. */
#define ACTORS_MAX 4096

struct model {
	uint8_t key[KEY_BYTES_MAX]; /* the one before */
	size_t len;
	uint64_t actors[ACTORS_MAX];
	size_t actor_count;
};

static uint64_t be64_at(const uint8_t *at)
{
	struct reader r = reader_init(SLICE(at, 8));

	return reader_be64(&r);
}

static size_t number_of(const struct model *m, uint64_t actor)
{
	size_t n = 0;

	while (n < m->actor_count && m->actors[n] != actor)
		n++;
	return n;
}

static void note(struct model *m, struct slice key)
{
	memcpy(m->key, key.data, key.len);
	m->len = key.len;
	if (key.len != EVENT_BYTES || m->actor_count == ACTORS_MAX)
		return;
	uint64_t actor = be64_at(key.data + HEAD_BYTES + 8);
	if (number_of(m, actor) == m->actor_count)
		m->actors[m->actor_count++] = actor;
}

static bool is_next(const struct model *m, struct slice key)
{
	return key.len == EVENT_BYTES && m->len == EVENT_BYTES &&
	       memcmp(key.data, m->key, HEAD_BYTES) == 0 && m->actor_count < ACTORS_MAX;
}

static void put_key(struct model *m, struct slice key, struct buf *out)
{
	if (!is_next(m, key)) {
		buf_varint(out, key.len + 1);
		buf_slice_append(out, key);
	} else {
		uint64_t actor = be64_at(key.data + HEAD_BYTES + 8);
		size_t number = number_of(m, actor);

		buf_varint(out, 0);
		buf_varint(out, be64_at(key.data + HEAD_BYTES) - be64_at(m->key + HEAD_BYTES));
		buf_varint(out, number);
		if (number == m->actor_count)
			buf_be64(out, actor);
	}
	note(m, key);
}

static int by_key(const void *a, const void *b)
{
	return slice_cmp(((const struct side_entry *)a)->key, ((const struct side_entry *)b)->key);
}

void side_pack(struct side_entry *entries, size_t count, struct buf *out)
{
	AUTO(free_ptr) struct model *m = xcalloc(1, sizeof(*m));
	AUTO(buf_fini) struct buf keys = {0};
	AUTO(buf_fini) struct buf lengths = {0};
	AUTO(buf_fini) struct buf values = {0};
	AUTO(buf_fini) struct buf plain = {0};

	if (count > 1)
		qsort(entries, count, sizeof(*entries), by_key);
	for (size_t i = 0; i < count; i++) {
		assert(entries[i].key.len && entries[i].key.len <= KEY_BYTES_MAX);
		put_key(m, entries[i].key, &keys);
		buf_varint(&lengths, entries[i].value.len);
		buf_slice_append(&values, entries[i].value);
	}
	buf_varint(&plain, count);
	buf_bytes(&plain, buf_slice(&keys));
	buf_bytes(&plain, buf_slice(&lengths));
	buf_bytes(&plain, buf_slice(&values));
	buf_u8(out, PACK_VERSION);
	zip_pack(buf_slice(&plain), PACK_LEVEL, out);
}

/* The next key, in m->key. */
static void take_key(struct model *m, struct reader *r)
{
	uint64_t what = reader_varint_max(r, KEY_BYTES_MAX + 1);
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	if (what) {
		buf_slice_append(&key, reader_take(r, (size_t)what - 1));
	} else if (m->len != EVENT_BYTES) {
		r->bad = true;
	} else {
		uint64_t lamport = be64_at(m->key + HEAD_BYTES) + reader_varint(r);
		size_t number = (size_t)reader_varint_max(r, m->actor_count);
		uint64_t actor = number < m->actor_count ? m->actors[number] : reader_be64(r);

		buf_append(&key, m->key, HEAD_BYTES);
		buf_be64(&key, lamport);
		buf_be64(&key, actor);
	}
	if (!r->bad &&
	    (key.len == 0 || (m->len && slice_cmp(SLICE(m->key, m->len), buf_slice(&key)) >= 0)))
		r->bad = true;
	if (!r->bad)
		note(m, buf_slice(&key));
}

int side_unpack(struct slice packed, void (*fn)(void *ctx, const struct side_entry *e), void *ctx)
{
	AUTO(free_ptr) struct model *m = xcalloc(1, sizeof(*m));
	AUTO(buf_fini) struct buf plain = {0};
	struct reader head = reader_init(packed);

	if (reader_u8(&head) != PACK_VERSION ||
	    zip_unpack(reader_take(&head, reader_left(&head)), SIDE_PACK_BYTES_MAX, &plain) < 0)
		return -EBADMSG;
	struct reader r = reader_init(buf_slice(&plain));
	uint64_t count = reader_varint_max(&r, plain.len);
	struct reader keys = reader_init(reader_bytes(&r, SIZE_MAX));
	struct reader lengths = reader_init(reader_bytes(&r, SIZE_MAX));
	struct reader values = reader_init(reader_bytes(&r, SIZE_MAX));
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	for (uint64_t i = 0; i < count; i++) {
		take_key(m, &keys);
		size_t len = (size_t)reader_varint_max(&lengths, reader_left(&values));
		struct slice value = reader_take(&values, len);

		if (keys.bad || lengths.bad || values.bad)
			return -EBADMSG;
		fn(ctx, &(struct side_entry){.key = SLICE(m->key, m->len), .value = value});
	}
	return reader_finish(&keys) < 0 || reader_finish(&lengths) < 0 || reader_finish(&values) < 0
		       ? -EBADMSG
		       : 0;
}
