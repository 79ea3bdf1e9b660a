/* Cutting what streams in, and keeping the pieces that are new. */
#include "core/import.h"

#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

struct import {
	struct db *db;
	const struct manifest *like;
	size_t like_at; /* the first entry of like that does not begin before here */
	struct manifest *m;
	struct buf rest; /* what no chunk was cut from yet */
};

struct import *import_create(struct db *db, uint64_t size, const struct manifest *like)
{
	struct import *i = xcalloc(1, sizeof(*i));

	i->db = db;
	db_chunks_hold(db);
	i->m = manifest_create(chunk_order(size));
	i->like = like && like->order == i->m->order ? like : NULL;
	return i;
}

void import_destroy(struct import *i)
{
	if (!i)
		return;
	db_chunks_release(i->db);
	manifest_unref(i->m);
	buf_fini(&i->rest);
	free(i);
}

uint64_t import_boundary(const struct import *i)
{
	return i->m->size;
}

uint64_t import_offset(const struct import *i)
{
	return i->m->size + i->rest.len;
}

static int put_piece(struct import *i, struct slice piece)
{
	struct chunk_id id;
	int r = 0;

	if (chunk_is_hole(piece)) {
		manifest_add_hole(i->m, piece.len);
		return 0;
	}
	id = chunk_id_of(&i->db->chunk_keys, piece);
	r = packs_put(i->db->packs, &id, piece);
	if (r < 0)
		return r;
	manifest_add(i->m, &id, piece.len);
	return r > 0 && packs_fresh_bytes(i->db->packs) > DB_CHUNKS_FLUSH_BYTES
		       ? db_chunks_flush(i->db)
		       : 0;
}

/* Cuts off what can be: all of it, if nothing follows. */
static int cut(struct import *i, bool all)
{
	size_t max = chunk_max(i->m->order);
	size_t at = 0;
	int r = 0;

	while (r == 0 && i->rest.len > at && (all || i->rest.len - at >= max)) {
		struct slice rest = SLICE(i->rest.data + at, i->rest.len - at);
		size_t n = chunk_cut(&i->db->chunk_keys, i->m->order, rest);

		r = put_piece(i, SLICE(rest.data, n));
		at += n;
	}
	if (at)
		memmove(i->rest.data, i->rest.data + at, i->rest.len - at);
	i->rest.len -= at;
	return r;
}

int import_data(struct import *i, struct slice bytes)
{
	buf_slice_append(&i->rest, bytes);
	return cut(i, false);
}

int import_hole(struct import *i, uint64_t length)
{
	int r = cut(i, true);

	if (r == 0)
		manifest_add_hole(i->m, length);
	return r;
}

uint64_t import_keep(struct import *i, uint64_t end)
{
	const struct manifest *like = i->like;
	uint64_t from = i->m->size;

	if (!like)
		return 0;
	while (i->like_at < like->count && like->entries[i->like_at].offset < from)
		i->like_at++;
	/* The last chunk ended with the file, and may go on now. */
	for (; i->like_at + 1 < like->count && like->entries[i->like_at].offset == i->m->size &&
	       like->entries[i->like_at + 1].offset <= end;
	     i->like_at++) {
		const struct chunk_id *id = &like->entries[i->like_at].id;
		uint64_t length = manifest_length(like, i->like_at);

		if (chunk_id_is_zero(id))
			manifest_add_hole(i->m, length);
		else
			manifest_add(i->m, id, length);
	}
	if (i->m->size > from)
		buf_clear(&i->rest);
	return i->m->size - from;
}

int import_finish(struct import *i, struct buf *ret_manifest)
{
	int r = cut(i, true);

	if (r == 0)
		r = manifest_seal(i->m, &i->db->parts);
	if (r == 0)
		r = db_chunks_flush(i->db);
	if (r == 0)
		manifest_encode(i->m, ret_manifest);
	return r;
}
