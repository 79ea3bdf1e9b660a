/*
 * Graves: records gone from their names, in their grace time. Whoever takes the name over meanwhile takes
 * the record out of its grave; what is still in it when the time is over is deleted.
 */
#include "core/intern.h"
#include "core/log.h"
#include "fs/vfs_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct buried {
	struct id node;
	enum node_kind kind;
	uint64_t serial;
};

static int decode(struct slice value, struct buried *ret)
{
	struct reader in = reader_init(value);

	ret->node = id_read(&in);
	ret->kind = (enum node_kind)reader_u8(&in);
	ret->serial = reader_varint(&in);
	return in.bad ? -EIO : 0;
}

/* The bit of a name. Most names that are asked about have no grave, and LevelDB takes long to say so. */
static uint8_t *bit_of(struct vfs *v, uint64_t parent, const char *name, uint8_t *ret_mask)
{
	uint64_t h = intern_hash(parent, SLICE_STR(name)) % GRAVE_BITS;

	*ret_mask = (uint8_t)(1u << h % 8);
	return &v->grave_seen[h / 8];
}

static bool may_be_there(struct vfs *v, uint64_t parent, const char *name)
{
	uint8_t mask;

	if (v->grave_count == 0 && v->grave_any_seen) {
		memset(v->grave_seen, 0, sizeof(v->grave_seen));
		v->grave_any_seen = false;
	}
	return v->grave_count && *bit_of(v, parent, name, &mask) & mask;
}

static int find(struct vfs *v, struct txn *t, uint64_t parent, const char *name, struct buried *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	if (!may_be_there(v, parent, name))
		return -ENOENT;
	int r = store_get(db_store(t), ns_dentry_key(&key, 'g', parent, name), &value);
	return r < 0 ? r : decode(buf_slice(&value), ret);
}

int graves_find(struct vfs *v, struct txn *t, uint64_t parent, const char *name,
		struct id *ret_node, enum node_kind *ret_kind)
{
	struct buried b = {0};
	int r = find(v, t, parent, name, &b);

	if (r < 0)
		return r;
	*ret_node = b.node;
	*ret_kind = b.kind;
	return 0;
}

void graves_forget(struct vfs *v, struct txn *t, uint64_t parent, const char *name)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	assert(v->grave_count > 0);
	v->grave_count--;
	store_delete(db_store(t), ns_dentry_key(&key, 'g', parent, name));
}

static void queue(struct vfs *v, const char *name, const struct grave *like)
{
	uint8_t mask;

	if (v->grave_end == v->grave_cap) {
		size_t n = v->grave_end - v->grave_first;

		if (n)
			memmove(v->graves, v->graves + v->grave_first, n * sizeof(*v->graves));
		v->grave_first = 0;
		v->grave_end = n;
		v->grave_cap = n < 32 ? 64 : n * 2;
		v->graves = xreallocarray(v->graves, v->grave_cap, sizeof(*v->graves));
	}
	v->graves[v->grave_end] = *like;
	v->graves[v->grave_end++].name = xstrdup(name);
	v->grave_count++;
	*bit_of(v, like->parent, name, &mask) |= mask;
	v->grave_any_seen = true;
	vfs_kick(v, like->due_ms);
}

bool graves_next(struct vfs *v, uint64_t now_ms, struct grave *ret)
{
	if (v->grave_first == v->grave_end || v->graves[v->grave_first].due_ms > now_ms)
		return false;
	*ret = v->graves[v->grave_first++];
	return true;
}

/* The grace is over: the record is deleted, unless it lives on, here or under another name. */
void graves_bury(struct vfs *v, struct txn *t, const struct grave *g)
{
	struct buried b = {0};

	if (find(v, t, g->parent, g->name, &b) < 0 || b.serial != g->serial)
		return;
	graves_forget(v, t, g->parent, g->name);
	db_set_program(t, g->program);
	if (ns_ino_of(v, t, &b.node) != 0)
		return;
	int r = db_delete(t, &b.node);
	if (r < 0 && r != -ENOENT)
		log_warn("a deletion could not be stored: %s", strerror(-r));
}

void graves_bury_now(struct vfs *v, struct txn *t, uint64_t parent, const char *name)
{
	AUTO(free_ptr) char *copy = xstrdup(name);
	struct grave g = {.parent = parent, .name = copy};
	struct buried b = {0};

	if (find(v, t, parent, name, &b) == 0) {
		g.serial = b.serial;
		graves_bury(v, t, &g);
	}
}

int graves_dig(struct vfs *v, struct txn *t, uint64_t parent, const char *name,
	       const struct inode *was)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct grave g = {
		.parent = parent, .serial = ++v->grave_serial, .due_ms = monotonic_ms() + GRACE_MS};

	(void)snprintf(g.program, sizeof(g.program), "%s", db_program(t));
	graves_bury_now(v, t, parent, name);
	id_write(&value, &was->node);
	buf_u8(&value, S_ISLNK(was->mode) ? NODE_SYMLINK : NODE_RECORD);
	buf_varint(&value, g.serial);
	store_put(db_store(t), ns_dentry_key(&key, 'g', parent, name), buf_slice(&value));
	queue(v, name, &g);
	return 0;
}

static bool load_grave(void *ctx, struct slice key, struct slice value)
{
	struct vfs *v = ctx;
	struct reader k = reader_init(key);
	struct grave g = {0};
	struct buried b = {0};

	(void)reader_take(&k, 2);
	g.parent = reader_be64(&k);
	AUTO(free_ptr) char *name = xmalloc(reader_left(&k) + 1);
	size_t n = reader_left(&k);
	reader_copy(&k, name, n);
	name[n] = 0;
	if (decode(value, &b) < 0)
		return true;
	g.serial = b.serial;
	v->grave_serial = b.serial > v->grave_serial ? b.serial : v->grave_serial;
	queue(v, name, &g);
	return true;
}

int graves_load(struct vfs *v, struct txn *t)
{
	while (v->grave_first < v->grave_end)
		free(v->graves[v->grave_first++].name);
	v->grave_count = 0;
	return store_scan(db_store(t), SLICE_STR("Lg"), SLICE("", 0), load_grave, v);
}
