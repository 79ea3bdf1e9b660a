/* Packs: appending, finding, making durable, and reading again what a crash left. */
#include "core/packs_i.h"

#include "core/log.h"
#include "core/platform.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAMAGE_KEY "Kr"
/** Chunks that are remembered as damaged; what is beyond is noticed when it is read again. */
#define DAMAGES_MAX 65536
/** Chunks found damaged at the same time that are logged one by one. */
#define DAMAGES_TOLD 20

struct packs_batch {
	struct fresh *items;
	size_t count;
	struct mark end;
};

char *packs_path(const struct packs *p, uint64_t number)
{
	return xasprintf("%s/%08llx", p->dir, (unsigned long long)number);
}

/* ---- what is not in the index yet ---------------------------------------------------------------- */

/* Ids are a member's to choose: the salt keeps him from choosing slots. */
static size_t slot_of(const struct packs *p, const struct chunk_id *id)
{
	uint64_t h = 0;

	memcpy(&h, id->b, sizeof(h));
	h = (h ^ p->salt) * UINT64_C(0xff51afd7ed558ccd);
	size_t at = (size_t)(h >> 32) & (p->slot_count - 1);
	while (p->slots[at] && !chunk_id_eq(&p->fresh[p->slots[at] - 1].id, id))
		at = (at + 1) & (p->slot_count - 1);
	return at;
}

static void index_fresh(struct packs *p, size_t slot_count)
{
	p->slot_count = slot_count;
	free(p->slots);
	p->slots = xcalloc(slot_count, sizeof(*p->slots));
	for (size_t i = 0; i < p->fresh_count; i++)
		p->slots[slot_of(p, &p->fresh[i].id)] = (uint32_t)i + 1;
}

static void add_fresh(struct packs *p, const struct chunk_id *id, const struct packs_place *at)
{
	if (p->fresh_count == p->fresh_cap) {
		p->fresh_cap = p->fresh_cap ? p->fresh_cap * 2 : 64;
		p->fresh = xreallocarray(p->fresh, p->fresh_cap, sizeof(*p->fresh));
		index_fresh(p, p->fresh_cap * 2);
	}
	p->fresh[p->fresh_count++] = (struct fresh){.id = *id, .at = *at};
	p->slots[slot_of(p, id)] = (uint32_t)p->fresh_count;
	p->fresh_bytes += at->length;
}

static bool find_fresh(struct packs *p, const struct chunk_id *id, struct packs_place *ret)
{
	mutex_lock(&p->lock);
	uint32_t i = p->slot_count ? p->slots[slot_of(p, id)] : 0;
	if (i)
		*ret = p->fresh[i - 1].at;
	mutex_unlock(&p->lock);
	return i != 0;
}

/* ---- damage -------------------------------------------------------------------------------------- */

static size_t find_damage_locked(const struct packs *p, const struct chunk_id *id)
{
	size_t i = 0;

	while (i < p->damage_count && !chunk_id_eq(&p->damages[i].id, id))
		i++;
	return i;
}

bool packs_is_damaged(struct packs *p, const struct chunk_id *id)
{
	if (__atomic_load_n(&p->damage_count, __ATOMIC_RELAXED) == 0)
		return false;
	mutex_lock(&p->lock);
	bool found = find_damage_locked(p, id) < p->damage_count;
	mutex_unlock(&p->lock);
	return found;
}

size_t packs_note_damage(struct packs *p, const struct chunk_id *id, uint64_t length)
{
	mutex_lock(&p->lock);
	bool fresh = find_damage_locked(p, id) == p->damage_count && p->damage_count < DAMAGES_MAX;
	if (fresh && p->damage_count == p->damage_cap) {
		p->damage_cap = p->damage_cap ? p->damage_cap * 2 : 8;
		p->damages = xreallocarray(p->damages, p->damage_cap, sizeof(*p->damages));
	}
	if (fresh) {
		p->damages[p->damage_count] = (struct packs_damage){.id = *id, .length = length};
		__atomic_store_n(&p->damage_count, p->damage_count + 1, __ATOMIC_RELAXED);
	}
	size_t known = fresh ? p->damage_count : 0;
	mutex_unlock(&p->lock);
	return known;
}

void packs_forget_damage_locked(struct packs *p, const struct chunk_id *id)
{
	size_t i = find_damage_locked(p, id);

	if (i == p->damage_count)
		return;
	memmove(&p->damages[i], &p->damages[i + 1], (p->damage_count - i - 1) * sizeof(*p->damages));
	__atomic_store_n(&p->damage_count, p->damage_count - 1, __ATOMIC_RELAXED);
	p->damage_staged -= i < p->damage_staged;
}

size_t packs_damages(struct packs *p, struct packs_damage **ret)
{
	mutex_lock(&p->lock);
	size_t n = p->damage_count;
	*ret = xmemdup(p->damages, n * sizeof(**ret));
	mutex_unlock(&p->lock);
	return n;
}

struct slice packs_damage_key(struct buf *key, const struct chunk_id *id)
{
	buf_clear(key);
	buf_append(key, DAMAGE_KEY, 2);
	buf_append(key, id->b, sizeof(id->b));
	return buf_slice(key);
}

void packs_stage_damages(struct packs *p, struct store_txn *t)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	mutex_lock(&p->lock);
	for (; p->damage_staged < p->damage_count; p->damage_staged++)
		store_put(t, packs_damage_key(&key, &p->damages[p->damage_staged].id), SLICE("", 0));
	mutex_unlock(&p->lock);
}

/* ---- the index ----------------------------------------------------------------------------------- */

struct slice packs_key(struct buf *key, const struct chunk_id *id)
{
	buf_clear(key);
	buf_u8(key, 'k');
	buf_append(key, id->b, sizeof(id->b));
	return buf_slice(key);
}

int packs_find(struct packs *p, const struct chunk_id *id, struct packs_place *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	if (find_fresh(p, id, ret))
		return 0;
	int r = store_read(p->store, packs_key(&key, id), &value);
	return r < 0 ? r : packs_place_decode(buf_slice(&value), ret);
}

int packs_place_decode(struct slice value, struct packs_place *ret)
{
	struct reader v = reader_init(value);

	ret->pack = reader_varint(&v);
	ret->offset = reader_varint(&v);
	ret->length = reader_varint_max(&v, CHUNK_BYTES_MAX);
	return reader_finish(&v) < 0 ? -EIO : 0;
}

enum packs_state packs_state(struct packs *p, const struct chunk_id *id)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct packs_place at;

	if (packs_watch_asked(p, id) && !packs_is_damaged(p, id) &&
	    store_read(p->store, packs_key(&key, id), &value) == 0)
		return PACKS_INDEXED;
	return find_fresh(p, id, &at) ? PACKS_FRESH : PACKS_NONE;
}

bool packs_has(struct packs *p, const struct chunk_id *id)
{
	return packs_state(p, id) != PACKS_NONE;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static int read_at(int fd, uint64_t offset, size_t size, struct buf *ret)
{
	uint8_t *to = buf_reserve(ret, size);
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)(offset + done));

		if (n == 0 || (n < 0 && errno != EINTR))
			return n == 0 ? -EIO : -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	ret->len += size;
	return 0;
}

int packs_read_place(const struct packs *p, const struct packs_place *at, struct buf *ret)
{
	AUTO(free_ptr) char *path = packs_path(p, at->pack);
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : read_at(fd, at->offset, (size_t)at->length, ret);
}

int packs_read(struct packs *p, const struct chunk_id *id, struct buf *ret)
{
	struct packs_place at;
	int r = packs_find(p, id, &at);

	buf_clear(ret);
	if (r < 0)
		return r;
	r = packs_read_place(p, &at, ret);
	/* It may have been moved meanwhile (packs_sweep.c). */
	for (int tries = 0; r == -ENOENT && tries < 3 && packs_find(p, id, &at) == 0; tries++)
		r = packs_read_place(p, &at, ret);
	struct chunk_id is = r == 0 ? chunk_id_of(p->keys, buf_slice(ret)) : (struct chunk_id){{0}};
	if (chunk_id_eq(&is, id))
		return 0;
	buf_clear(ret);
	size_t known = packs_note_damage(p, id, at.length);
	if (known && known <= DAMAGES_TOLD)
		log_err("a chunk in '%s/%08llx' is damaged: %s at byte %llu%s", p->dir,
			(unsigned long long)at.pack, r < 0 ? strerror(-r) : "wrong content",
			(unsigned long long)at.offset,
			known < DAMAGES_TOLD ? "" : "; more such chunks are not told of");
	return -EIO;
}

/* ---- appending ----------------------------------------------------------------------------------- */

int packs_open_next(struct packs *p, uint64_t number)
{
	AUTO(free_ptr) char *path = packs_path(p, number);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	close_fd(&p->fd);
	p->fd = fd;
	p->end = (struct mark){.pack = number};
	return 0;
}

static int write_all(int fd, uint64_t offset, struct slice data)
{
	size_t done = 0;

	while (done < data.len) {
		ssize_t n = pwrite(fd, data.data + done, data.len - done, (off_t)(offset + done));

		if (n == 0 || (n < 0 && errno != EINTR))
			return n == 0 ? -EIO : -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int packs_append_locked(struct packs *p, const struct chunk_id *id, struct slice bytes)
{
	AUTO(buf_fini) struct buf head = {0};
	int r = 0;

	if (p->fd < 0 || p->end.offset >= PACK_BYTES_MAX)
		r = packs_open_next(p, p->fd < 0 ? p->end.pack : p->end.pack + 1);
	if (r < 0)
		return r;
	buf_be32(&head, (uint32_t)bytes.len);
	buf_append(&head, id->b, sizeof(id->b));
	struct packs_place at = {
		.pack = p->end.pack, .offset = p->end.offset + head.len, .length = bytes.len};
	r = write_all(p->fd, p->end.offset, buf_slice(&head));
	if (r == 0)
		r = write_all(p->fd, at.offset, bytes);
	if (r < 0) {
		/* If that fails, too: the next one overwrites it, or the next start cuts it off. */
		bool cut = ftruncate(p->fd, (off_t)p->end.offset) == 0;

		(void)cut;
		return r;
	}
	p->end.offset = at.offset + at.length;
	add_fresh(p, id, &at);
	return 1;
}

int packs_put(struct packs *p, const struct chunk_id *id, struct slice bytes)
{
	assert(bytes.len > 0 && bytes.len <= CHUNK_BYTES_MAX);
	if (packs_has(p, id))
		return 0;
	mutex_lock(&p->lock);
	bool came = p->slot_count && p->slots[slot_of(p, id)];
	int r = came ? 0 : packs_append_locked(p, id, bytes);
	mutex_unlock(&p->lock);
	return r;
}

uint64_t packs_fresh_bytes(struct packs *p)
{
	mutex_lock(&p->lock);
	uint64_t n = p->fresh_bytes;
	mutex_unlock(&p->lock);
	return n;
}

/* ---- making durable ------------------------------------------------------------------------------ */

int packs_sync_dir(const char *path)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

static int sync_pack(const struct packs *p, uint64_t number)
{
	AUTO(free_ptr) char *path = packs_path(p, number);
	AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : platform_sync_data(fd);
}

int packs_sync(struct packs *p, struct packs_batch **ret)
{
	struct packs_batch *b = xcalloc(1, sizeof(*b));

	*ret = NULL;
	mutex_lock(&p->lock);
	b->count = p->fresh_count;
	b->items = xmemdup(p->fresh, p->fresh_count * sizeof(*p->fresh));
	b->end = p->end;
	struct mark from = p->mark;
	mutex_unlock(&p->lock);
	int r = 0;
	for (uint64_t n = from.pack; r == 0 && b->count && n <= b->end.pack; n++)
		r = sync_pack(p, n);
	if (r == 0 && b->count && (from.offset == 0 || from.pack != b->end.pack))
		r = packs_sync_dir(p->dir);
	if (r < 0 || b->count == 0) {
		free(b->items);
		free(b);
		return r;
	}
	*ret = b;
	return 0;
}

void packs_stage(struct packs *p, const struct packs_batch *b, struct store_txn *t)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	for (size_t i = 0; i < b->count; i++) {
		buf_clear(&value);
		buf_varint(&value, b->items[i].at.pack);
		buf_varint(&value, b->items[i].at.offset);
		buf_varint(&value, b->items[i].at.length);
		store_put(t, packs_key(&key, &b->items[i].id), buf_slice(&value));
		if (packs_is_damaged(p, &b->items[i].id))
			store_delete(t, packs_damage_key(&key, &b->items[i].id));
	}
	buf_clear(&value);
	buf_varint(&value, b->end.pack);
	buf_varint(&value, b->end.offset);
	store_put(t, SLICE_STR(PACKS_MARK_KEY), buf_slice(&value));
}

void packs_settle(struct packs *p, struct packs_batch *b, bool written)
{
	mutex_lock(&p->lock);
	if (written) {
		assert(p->fresh_count >= b->count);
		p->fresh_count -= b->count;
		memmove(p->fresh, p->fresh + b->count, p->fresh_count * sizeof(*p->fresh));
		for (size_t i = 0; i < b->count; i++) {
			p->fresh_bytes -= b->items[i].at.length;
			packs_forget_damage_locked(p, &b->items[i].id);
		}
		index_fresh(p, p->slot_count);
		p->mark = b->end;
	}
	mutex_unlock(&p->lock);
	free(b->items);
	free(b);
}

size_t packs_batch_count(const struct packs_batch *b)
{
	return b->count;
}

const struct chunk_id *packs_batch_id(const struct packs_batch *b, size_t i)
{
	return &b->items[i].id;
}

/* ---- opening ------------------------------------------------------------------------------------- */

/* Reads what stands behind the index's mark in one pack. Sets p->end to where it stops making sense. */
static int recover_pack(struct packs *p, uint64_t from)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct stat st;

	if (fstat(p->fd, &st) != 0)
		return -errno;
	uint64_t size = (uint64_t)st.st_size;
	for (p->end.offset = from; p->end.offset + PACKS_RECORD_HEAD_BYTES < size;) {
		struct chunk_id id;

		buf_clear(&bytes);
		if (read_at(p->fd, p->end.offset, PACKS_RECORD_HEAD_BYTES, &bytes) < 0)
			break;
		struct reader r = reader_init(buf_slice(&bytes));
		struct packs_place at = {.pack = p->end.pack,
					 .offset = p->end.offset + PACKS_RECORD_HEAD_BYTES,
					 .length = reader_be32(&r)};
		reader_copy(&r, id.b, sizeof(id.b));
		buf_clear(&bytes);
		if (at.length == 0 || at.length > CHUNK_BYTES_MAX || at.length > size - at.offset ||
		    read_at(p->fd, at.offset, (size_t)at.length, &bytes) < 0)
			break;
		struct chunk_id is = chunk_id_of(p->keys, buf_slice(&bytes));
		if (!chunk_id_eq(&is, &id))
			break;
		p->end.offset = at.offset + at.length;
		if (!packs_has(p, &id))
			add_fresh(p, &id, &at);
	}
	if (size < from)
		log_err("'%s/%08llx' is shorter than it was: chunks are lost", p->dir,
			(unsigned long long)p->end.pack);
	return size > p->end.offset && ftruncate(p->fd, (off_t)p->end.offset) != 0 ? -errno : 0;
}

static int read_mark(struct packs *p)
{
	AUTO(buf_fini) struct buf value = {0};
	int r = store_read(p->store, SLICE_STR(PACKS_MARK_KEY), &value);

	p->mark = (struct mark){.pack = 1};
	if (r == -ENOENT)
		return 0;
	struct reader v = reader_init(buf_slice(&value));
	p->mark.pack = reader_varint(&v);
	p->mark.offset = reader_varint(&v);
	return r < 0 ? r : reader_finish(&v);
}

static int recover(struct packs *p)
{
	int r = read_mark(p);

	p->end = p->mark;
	for (uint64_t n = p->mark.pack; r == 0; n++) {
		AUTO(free_ptr) char *path = packs_path(p, n);

		if (access(path, F_OK) != 0)
			return 0;
		r = packs_open_next(p, n);
		if (r == 0)
			r = recover_pack(p, n == p->mark.pack ? p->mark.offset : 0);
	}
	return r;
}

static bool load_damage(void *ctx, struct slice key, struct slice value)
{
	struct packs *p = ctx;
	struct reader k = reader_init(key);
	struct chunk_id id;
	struct packs_place at;

	(void)value;
	(void)reader_take(&k, 2);
	reader_copy(&k, id.b, sizeof(id.b));
	if (reader_finish(&k) == 0 && packs_find(p, &id, &at) == 0)
		(void)packs_note_damage(p, &id, at.length);
	return true;
}

static int load_damages(struct packs *p)
{
	struct store_txn *t = store_begin(p->store);
	int r = store_scan(t, SLICE_STR(DAMAGE_KEY), SLICE("", 0), load_damage, p);

	store_abort(t);
	p->damage_staged = p->damage_count;
	return r;
}

int packs_open(const char *dir, struct store *store, const struct chunk_keys *keys,
	       struct packs **ret)
{
	struct packs *p = xcalloc(1, sizeof(*p));

	p->dir = xasprintf("%s/chunks", dir);
	p->store = store;
	p->keys = keys;
	p->fd = -1;
	random_bytes(&p->salt, sizeof(p->salt));
	mutex_init(&p->lock);
	int r = mkdir(p->dir, 0700) != 0 && errno != EEXIST ? -errno : recover(p);
	if (r == 0)
		r = load_damages(p);
	if (r < 0) {
		packs_close(p);
		return r;
	}
	*ret = p;
	return 0;
}

void packs_close(struct packs *p)
{
	if (!p)
		return;
	close_fd(&p->fd);
	mutex_fini(&p->lock);
	free(p->fresh);
	free(p->slots);
	free(p->damages);
	chunk_set_fini(&p->asked);
	chunk_set_fini(&p->dying);
	free(p->dir);
	free(p);
}
