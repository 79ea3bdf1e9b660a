/*
 * Taking out of packs what nobody needs: first out of the index, then a pack with much of it is copied without, and its
 * file removed. A chunk's old place is valid until its new one is durable and in the index, and a file goes after
 * that was made durable, too: so nothing is lost by kill -9 or a power cut, wherever it comes.
 */
#include "core/packs_i.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/** Copied between two flushes: all of a pack. */
#define MOVE_BYTES_MAX (128u << 20)

/* ---- watching ------------------------------------------------------------------------------------ */

void packs_watch_begin(struct packs *p)
{
	mutex_lock(&p->lock);
	assert(!p->watching && p->asked.count == 0);
	for (size_t i = 0; i < p->fresh_count; i++)
		(void)chunk_set_add(&p->asked, &p->fresh[i].id);
	__atomic_store_n(&p->watching, true, __ATOMIC_SEQ_CST);
	mutex_unlock(&p->lock);
}

void packs_watch_end(struct packs *p)
{
	mutex_lock(&p->lock);
	__atomic_store_n(&p->watching, false, __ATOMIC_SEQ_CST);
	chunk_set_fini(&p->asked);
	mutex_unlock(&p->lock);
}

bool packs_watch_asked(struct packs *p, const struct chunk_id *id)
{
	if (!__atomic_load_n(&p->watching, __ATOMIC_SEQ_CST))
		return true;
	mutex_lock(&p->lock);
	bool stays = !chunk_set_has(&p->dying, id);
	if (p->watching)
		(void)chunk_set_add(&p->asked, id);
	mutex_unlock(&p->lock);
	return stays;
}

size_t packs_drop(struct packs *p, const struct chunk_id *ids, size_t count, struct store_txn *t,
		  uint64_t *ret_bytes)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct packs_place at;
	size_t dropped = 0;

	for (size_t i = 0; i < count; i++) {
		mutex_lock(&p->lock);
		assert(p->watching);
		bool needed = chunk_set_has(&p->asked, &ids[i]);
		if (!needed)
			(void)chunk_set_add(&p->dying, &ids[i]);
		mutex_unlock(&p->lock);
		if (needed || packs_find(p, &ids[i], &at) < 0)
			continue;
		store_delete(t, packs_key(&key, &ids[i]));
		store_delete(t, packs_damage_key(&key, &ids[i]));
		*ret_bytes += at.length;
		dropped++;
	}
	return dropped;
}

void packs_drop_end(struct packs *p)
{
	mutex_lock(&p->lock);
	for (size_t i = p->damage_count; i > 0; i--) {
		const struct chunk_id id = p->damages[i - 1].id;

		if (chunk_set_has(&p->dying, &id))
			packs_forget_damage_locked(p, &id);
	}
	chunk_set_fini(&p->dying);
	mutex_unlock(&p->lock);
}

/* ---- how full packs are -------------------------------------------------------------------------- */

struct uses {
	struct packs_use *items;
	size_t count;
};

static int by_pack(const void *a, const void *b)
{
	const struct packs_use *x = a;
	const struct packs_use *y = b;

	return (x->pack > y->pack) - (x->pack < y->pack);
}

static struct packs_use *use_of(const struct uses *u, uint64_t pack)
{
	const struct packs_use key = {.pack = pack};

	return u->count ? bsearch(&key, u->items, u->count, sizeof(key), by_pack) : NULL;
}

static int list_packs(const struct packs *p, struct uses *u)
{
	DIR *dir = opendir(p->dir);
	struct stat st;

	if (!dir)
		return -errno;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		char *end = NULL;
		uint64_t number = strtoull(e->d_name, &end, 16);

		if (strlen(e->d_name) < 8 || *end || fstatat(dirfd(dir), e->d_name, &st, 0) != 0)
			continue;
		u->items = xreallocarray(u->items, u->count + 1, sizeof(*u->items));
		u->items[u->count++] =
			(struct packs_use){.pack = number, .file_bytes = (uint64_t)st.st_size};
	}
	(void)closedir(dir);
	if (u->count)
		qsort(u->items, u->count, sizeof(*u->items), by_pack);
	return 0;
}

int packs_file_bytes(const struct packs *p, uint64_t *ret)
{
	struct uses u = {0};
	int r = list_packs(p, &u);

	*ret = 0;
	for (size_t i = 0; i < u.count; i++)
		*ret += u.items[i].file_bytes;
	free(u.items);
	return r;
}

static bool add_use(void *ctx, struct slice key, struct slice value)
{
	struct packs_place at;

	(void)key;
	struct packs_use *use = packs_place_decode(value, &at) == 0 ? use_of(ctx, at.pack) : NULL;
	if (use)
		use->live_bytes += at.length + PACKS_RECORD_HEAD_BYTES;
	return true;
}

int packs_uses(struct packs *p, struct packs_use **ret, size_t *ret_count)
{
	struct uses u = {0};
	struct store_txn *t = store_begin(p->store);
	int r = list_packs(p, &u);

	if (r == 0)
		r = store_scan(t, SLICE_STR("k"), SLICE("", 0), add_use, &u);
	store_abort(t);
	mutex_lock(&p->lock);
	for (size_t i = 0; i < p->fresh_count; i++) {
		struct packs_use *use = use_of(&u, p->fresh[i].at.pack);

		if (use)
			use->live_bytes += p->fresh[i].at.length + PACKS_RECORD_HEAD_BYTES;
	}
	mutex_unlock(&p->lock);
	if (r < 0) {
		free(u.items);
		return r;
	}
	*ret = u.items;
	*ret_count = u.count;
	return 0;
}

/* ---- emptying a pack ----------------------------------------------------------------------------- */

int packs_leave(struct packs *p, uint64_t pack)
{
	mutex_lock(&p->lock);
	int r = p->end.pack == pack ? packs_open_next(p, pack + 1) : 0;
	mutex_unlock(&p->lock);
	return r;
}

struct in_pack {
	uint64_t pack;
	struct chunk_id *ids;
	struct packs_place *places;
	size_t count;
	uint64_t bytes;
};

static bool add_in_pack(void *ctx, struct slice key, struct slice value)
{
	struct in_pack *in = ctx;
	struct packs_place at;
	struct chunk_id id;
	struct reader k = reader_init(key);

	(void)reader_u8(&k);
	reader_copy(&k, id.b, sizeof(id.b));
	if (reader_finish(&k) < 0 || packs_place_decode(value, &at) < 0 || at.pack != in->pack)
		return true;
	in->ids = xreallocarray(in->ids, in->count + 1, sizeof(*in->ids));
	in->places = xreallocarray(in->places, in->count + 1, sizeof(*in->places));
	in->ids[in->count] = id;
	in->places[in->count++] = at;
	in->bytes += at.length;
	return in->bytes < MOVE_BYTES_MAX;
}

static int move_one(struct packs *p, const struct chunk_id *id, const struct packs_place *at)
{
	AUTO(buf_fini) struct buf bytes = {0};
	int r = packs_read_place(p, at, &bytes);
	struct chunk_id is = chunk_id_of(p->keys, buf_slice(&bytes));

	if (r < 0 || !chunk_id_eq(&is, id)) {
		(void)packs_note_damage(p, id, at->length);
		return -EIO;
	}
	mutex_lock(&p->lock);
	r = packs_append_locked(p, id, buf_slice(&bytes));
	mutex_unlock(&p->lock);
	return r;
}

int packs_move_some(struct packs *p, uint64_t pack)
{
	struct in_pack in = {.pack = pack};
	struct store_txn *t = store_begin(p->store);
	int r = store_scan(t, SLICE_STR("k"), SLICE("", 0), add_in_pack, &in);

	store_abort(t);
	for (size_t i = 0; r >= 0 && i < in.count; i++)
		r = move_one(p, &in.ids[i], &in.places[i]);
	free(in.ids);
	free(in.places);
	return r < 0 ? r : in.count > 0;
}

bool packs_stage_mark(struct packs *p, struct store_txn *t)
{
	AUTO(buf_fini) struct buf value = {0};

	mutex_lock(&p->lock);
	bool all = p->fresh_count == 0;
	if (all) {
		buf_varint(&value, p->end.pack);
		buf_varint(&value, p->end.offset);
		store_put(t, SLICE_STR(PACKS_MARK_KEY), buf_slice(&value));
		p->mark = p->end; /* if that is not written, recovery looks at more than it has to */
	}
	mutex_unlock(&p->lock);
	return all;
}

int packs_remove(struct packs *p, uint64_t pack)
{
	AUTO(free_ptr) char *path = packs_path(p, pack);
	struct in_pack in = {.pack = pack};
	struct store_txn *t = store_begin(p->store);
	int r = store_scan(t, SLICE_STR("k"), SLICE("", 0), add_in_pack, &in);

	store_abort(t);
	mutex_lock(&p->lock);
	bool used = in.count > 0 || pack >= p->mark.pack;
	mutex_unlock(&p->lock);
	free(in.ids);
	free(in.places);
	if (r < 0 || used)
		return r < 0 ? r : -EBUSY;
	return unlink(path) != 0 && errno != ENOENT ? -errno : 0;
}
