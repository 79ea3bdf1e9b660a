/* The local namespace: inodes and names in the store, and their images in memory while in use. */
#include "core/name.h"
#include "fs/bytes.h"

#include <stdlib.h>
#include <string.h>

#define INODE_VERSION 2
#define INO_BLOCK 1024

enum {
	FLAG_BOUND = 1,
	FLAG_LOCAL = 2,
	FLAG_OWN_BYTES = 4,
	FLAG_PLAIN = 8,
	FLAG_NODE = 16,
	FLAG_FILE = 32,
	FLAG_CHUNKS = 64,
	FLAG_WAS = 128,
};

struct slice ns_key(struct buf *key, char kind, uint64_t ino)
{
	buf_clear(key);
	buf_u8(key, 'L');
	buf_u8(key, (uint8_t)kind);
	buf_be64(key, ino);
	return buf_slice(key);
}

struct slice ns_dentry_key(struct buf *key, char kind, uint64_t parent, const char *name)
{
	(void)ns_key(key, kind, parent);
	buf_append(key, name, strlen(name));
	return buf_slice(key);
}

static struct slice node_key(struct buf *key, const struct id *node)
{
	buf_clear(key);
	buf_u8(key, 'L');
	buf_u8(key, 'n');
	id_write(key, node);
	return buf_slice(key);
}

struct timespec ns_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

static void time_write(struct buf *b, struct timespec t)
{
	buf_be64(b, (uint64_t)t.tv_sec);
	buf_be32(b, (uint32_t)t.tv_nsec);
}

static struct timespec time_read(struct reader *r)
{
	struct timespec t = {.tv_sec = (time_t)reader_be64(r)};

	t.tv_nsec = (long)reader_be32(r);
	return t;
}

static void encode(const struct inode *i, struct buf *out)
{
	bool node = i->bound || !id_is_zero(&i->node);

	buf_u8(out, INODE_VERSION);
	buf_u8(out,
	       (uint8_t)((i->bound ? FLAG_BOUND : 0) | (i->local ? FLAG_LOCAL : 0) |
			 (i->own_bytes ? FLAG_OWN_BYTES : 0) | (node ? FLAG_NODE : 0) |
			 (i->plain ? FLAG_PLAIN : 0) | (i->stored_file ? FLAG_FILE : 0) |
			 (i->own_chunks ? FLAG_CHUNKS : 0) | (id_is_zero(&i->was) ? 0 : FLAG_WAS)));
	buf_varint(out, i->mode);
	buf_varint(out, i->nlink);
	buf_varint(out, i->uid);
	buf_varint(out, i->gid);
	buf_varint(out, i->rdev);
	buf_varint(out, i->stored_size);
	time_write(out, i->atime);
	time_write(out, i->mtime);
	time_write(out, i->ctime);
	buf_varint(out, i->parent);
	buf_bytes(out, SLICE_STR(i->name ? i->name : ""));
	if (node)
		id_write(out, &i->node);
	if (i->stored_file)
		buf_varint(out, i->stored_file);
	if (!id_is_zero(&i->was))
		id_write(out, &i->was);
}

static int decode(struct slice bytes, struct inode *i)
{
	struct reader r = reader_init(bytes);

	if (reader_u8(&r) != INODE_VERSION)
		return -EIO;
	uint8_t flags = reader_u8(&r);
	i->bound = flags & FLAG_BOUND;
	i->local = flags & FLAG_LOCAL;
	i->own_bytes = flags & FLAG_OWN_BYTES;
	i->plain = flags & FLAG_PLAIN;
	i->own_chunks = flags & FLAG_CHUNKS;
	i->mode = (mode_t)reader_varint(&r);
	i->nlink = (uint32_t)reader_varint(&r);
	i->uid = (uid_t)reader_varint(&r);
	i->gid = (gid_t)reader_varint(&r);
	i->rdev = (dev_t)reader_varint(&r);
	i->size = i->stored_size = reader_varint(&r);
	i->atime = time_read(&r);
	i->mtime = time_read(&r);
	i->ctime = time_read(&r);
	i->parent = reader_varint(&r);
	struct slice name = reader_bytes(&r, 4096);
	i->node = (struct id){{0}};
	if (flags & FLAG_NODE)
		i->node = id_read(&r);
	i->stored_file = flags & FLAG_FILE ? reader_varint(&r) : 0;
	i->was = (struct id){{0}};
	if (flags & FLAG_WAS)
		i->was = id_read(&r);
	if (reader_finish(&r) < 0)
		return -EIO;
	free(i->name);
	i->name = NULL;
	if (name.len) {
		i->name = xmalloc(name.len + 1);
		memcpy(i->name, name.data, name.len);
		i->name[name.len] = 0;
	}
	return 0;
}

static struct inode **slot_of(struct vfs *v, uint64_t ino)
{
	return &v->slots[(ino ^ ino >> 16) % INODE_SLOTS];
}

struct inode *ns_cached(struct vfs *v, uint64_t ino)
{
	struct inode *i = *slot_of(v, ino);

	while (i && i->ino != ino)
		i = i->next_in_slot;
	return i;
}

/* ---- what is in memory -------------------------------------------------------------------------- */

static void keep(struct vfs *v, struct inode *i)
{
	struct inode **slot = slot_of(v, i->ino);

	i->names_changed_ms = monotonic_ms();
	i->next_in_slot = *slot;
	*slot = i;
	i->older = v->newest;
	if (i->older)
		i->older->newer = i;
	else
		v->oldest = i;
	v->newest = i;
	v->inode_count++;
}

static void unlist(struct vfs *v, struct inode *i)
{
	*(i->newer ? &i->newer->older : &v->newest) = i->older;
	*(i->older ? &i->older->newer : &v->oldest) = i->newer;
	i->newer = i->older = NULL;
	v->inode_count--;
}

static void discard(struct vfs *v, struct inode *i)
{
	for (struct inode **p = slot_of(v, i->ino); *p; p = &(*p)->next_in_slot) {
		if (*p == i) {
			*p = i->next_in_slot;
			break;
		}
	}
	unlist(v, i);
	bytes_drop(v, i);
	ns_free(i);
}

static bool is_in_use(const struct inode *i)
{
	return i->opens || i->unpublished || i->waits || (i->dirty && !i->gone) || i->touched ||
	       i->notices || i->held_ms || i->ino == VFS_ROOT_INO;
}

/*
 * Whether memory knows more than the store: what it was renamed away from, which reading a file that is no
 * record yet was made from, and everything of one that is gone.
 */
static bool is_unique(const struct inode *i)
{
	return i->gone || i->dirty || i->origin_parent || (i->writer && !i->bound);
}

/* Forgets the oldest that nobody needs. Those that have to stay go to the other end, a few at a time. */
void ns_begin(struct vfs *v, const struct txn *t)
{
	if (v->operation == txn_number(t))
		return;
	v->operation = txn_number(t);
	for (unsigned n = 0; n < 64 && v->inode_count > INODES_KEPT; n++) {
		struct inode *i = v->oldest;

		if (is_in_use(i) || (i->lookups && is_unique(i))) {
			unlist(v, i);
			v->newest->newer = i;
			i->older = v->newest;
			v->newest = i;
			v->inode_count++;
			continue;
		}
		if (i->lookups)
			counts_put(&v->counts, i->ino,
				   (struct count){.lookups = (uint32_t)i->lookups,
						  .epoch = (uint32_t)i->epoch});
		discard(v, i);
	}
}

void ns_release(struct vfs *v, struct inode *i)
{
	if (!i->lookups && !is_in_use(i))
		discard(v, i);
}

void ns_forget(struct vfs *v, uint64_t ino, uint64_t count)
{
	struct inode *i = ns_cached(v, ino);
	struct count c;

	if (i) {
		i->lookups -= count < i->lookups ? count : i->lookups;
		ns_release(v, i);
	} else if (counts_take(&v->counts, ino, &c) && count < c.lookups) {
		c.lookups -= (uint32_t)count;
		counts_put(&v->counts, ino, c);
	}
}

struct inode *ns_get(struct vfs *v, struct txn *t, uint64_t ino)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct count c;

	ns_begin(v, t);
	struct inode *i = ns_cached(v, ino);
	if (i)
		return i;
	if (store_get(db_store(t), ns_key(&key, 'i', ino), &value) < 0)
		return NULL;
	i = xcalloc(1, sizeof(*i));
	i->ino = ino;
	i->epoch = v->epoch;
	if (decode(buf_slice(&value), i) < 0 || links_load(t, i) < 0) {
		ns_free(i);
		return NULL;
	}
	if (counts_take(&v->counts, ino, &c)) {
		i->lookups = c.lookups;
		i->epoch = c.epoch;
	}
	keep(v, i);
	if (i->stored_file)
		bytes_found(v, t, i);
	return i;
}

int ns_exists(struct txn *t, uint64_t ino)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	int r = store_get(db_store(t), ns_key(&key, 'i', ino), &value);

	return r == -ENOENT ? 0 : r == 0 ? 1 : r;
}

uint64_t ns_number(struct vfs *v, struct txn *t)
{
	AUTO(buf_fini) struct buf value = {0};

	ns_begin(v, t);
	/* Numbers are taken in blocks, one write for a thousand; what a block has left is never used again. */
	if (v->next_ino >= v->ino_limit) {
		v->ino_limit = v->next_ino + INO_BLOCK;
		buf_varint(&value, v->ino_limit);
		store_put(db_store(t), SLICE_STR("Lm"), buf_slice(&value));
	}
	return v->next_ino++;
}

struct inode *ns_new(struct vfs *v, struct txn *t, mode_t mode)
{
	struct inode *i = xcalloc(1, sizeof(*i));

	i->ino = ns_number(v, t);
	i->mode = mode;
	i->uid = v->uid;
	i->gid = v->gid;
	i->atime = i->mtime = i->ctime = ns_now();
	i->epoch = v->epoch;
	i->plain = true;
	keep(v, i);
	return i;
}

void ns_touch(struct vfs *v, struct inode *i)
{
	if (i->touched)
		return;
	if (v->touched_count == v->touched_cap) {
		v->touched_cap = v->touched_cap ? v->touched_cap * 2 : 16;
		v->touched = xreallocarray(v->touched, v->touched_cap, sizeof(struct inode *));
	}
	i->touched = true;
	bytes_touched(i);
	v->touched[v->touched_count++] = i;
}

void ns_put(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	ns_touch(v, i);
	if (i->gone)
		return;
	if (!i->dirty)
		i->stored_size = i->size;
	encode(i, &value);
	store_put(db_store(t), ns_key(&key, 'i', i->ino), buf_slice(&value));
}

struct removing {
	struct store_txn *t;
	struct inode *i;
};

static bool remove_xattr(void *ctx, struct slice key, struct slice value)
{
	struct removing *r = ctx;

	if (r->i->lookups || r->i->opens)
		vfs_keep_xattr(r->i, SLICE(key.data + 10, key.len - 10), value);
	store_delete(r->t, key);
	return true;
}

void ns_remove(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct removing k = {.t = db_store(t), .i = i};

	ns_touch(v, i);
	bytes_removed(v, t, i);
	ns_unbind(v, t, i);
	publish_unmark(v, t, i);
	shown_forget(v, i);
	store_delete(k.t, ns_key(&key, 'i', i->ino));
	buf_clear(&i->xattrs);
	if (!i->plain)
		(void)store_scan(k.t, ns_key(&key, 'x', i->ino), SLICE("", 0), remove_xattr, &k);
	i->gone = true;
	i->parent = 0;
}

void ns_free(struct inode *i)
{
	bytes_fini(i);
	links_fini(i);
	buf_fini(&i->xattrs);
	free(i->name);
	free(i->origin_name);
	free(i->bases);
	free(i);
}

static int find_escaped(struct vfs *v, struct txn *t, uint64_t parent, const char *name,
			uint64_t *ret_ino)
{
	static const enum node_kind kinds[] = {NODE_RECORD, NODE_DIR, NODE_SYMLINK};
	const struct inode *dir = ns_get(v, t, parent);
	struct id node;

	for (size_t k = 0; dir && dir->bound && k < countof(kinds); k++) {
		(void)db_new_id(t, &dir->node, name, kinds[k], 0, &node);
		*ret_ino = ns_ino_of(v, t, &node);
		const struct inode *i = *ret_ino ? ns_get(v, t, *ret_ino) : NULL;
		for (size_t l = 0; i && l <= i->link_count; l++) {
			const struct link at = links_at(i, l);

			if (at.parent == parent && at.bound && id_eq(&at.node, &node))
				return 0;
		}
	}
	return -ENOENT;
}

int ns_find(struct vfs *v, struct txn *t, uint64_t parent, const char *name, uint64_t *ret_ino)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	int r = store_get(db_store(t), ns_dentry_key(&key, 'd', parent, name), &value);

	if (r == -ENOENT && !name_is_plain(SLICE_STR(name)))
		return find_escaped(v, t, parent, name, ret_ino);
	if (r < 0)
		return r;
	struct reader e = reader_init(buf_slice(&value));
	*ret_ino = reader_be64(&e);
	return e.bad ? -EIO : 0;
}

void ns_touch_times(struct vfs *v, struct txn *t, struct inode *i, bool modified)
{
	i->ctime = ns_now();
	if (modified)
		i->mtime = i->ctime;
	ns_put(v, t, i);
}

void ns_link(struct vfs *v, struct txn *t, struct inode *parent, const char *name, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	buf_be64(&value, i->ino);
	buf_be32(&value, i->mode & S_IFMT);
	store_put(db_store(t), ns_dentry_key(&key, 'd', parent->ino, name), buf_slice(&value));
	if (i->parent && !S_ISDIR(i->mode)) {
		links_add(t, i, parent->ino, name);
	} else {
		char *copy = xstrdup(name); /* name may be i->name */

		i->parent = parent->ino;
		free(i->name);
		i->name = copy;
	}
	if (S_ISDIR(i->mode)) {
		i->nlink = 2 > i->nlink ? 2 : i->nlink;
		parent->nlink++;
	} else {
		i->nlink++;
	}
	i->ctime = ns_now();
	ns_put(v, t, i);
	ns_touch_times(v, t, parent, true);
}

void ns_unlink(struct vfs *v, struct txn *t, struct inode *parent, const char *name, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	store_delete(db_store(t), ns_dentry_key(&key, 'd', parent->ino, name));
	if (S_ISDIR(i->mode)) {
		parent->nlink--;
	} else {
		assert(i->parent == parent->ino && strcmp(i->name, name) == 0);
		i->nlink--;
		i->parent = 0;
	}
	i->ctime = ns_now();
	ns_put(v, t, i);
	ns_touch_times(v, t, parent, true);
}

static bool found_one(void *ctx, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	*(bool *)ctx = true;
	return false;
}

bool ns_is_empty(struct vfs *v, struct txn *t, uint64_t dir)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	bool found = false;

	(void)v;
	(void)store_scan(db_store(t), ns_key(&key, 'd', dir), SLICE("", 0), found_one, &found);
	return !found;
}

void ns_put_node(struct vfs *v, struct txn *t, const struct id *node, uint64_t ino)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	assert(ns_ino_of(v, t, node) == 0); /* a node is shown once */
	buf_be64(&value, ino);
	store_put(db_store(t), node_key(&key, node), buf_slice(&value));
}

void ns_bind(struct vfs *v, struct txn *t, struct inode *i, const struct id *node)
{
	if (i->bound && id_eq(&i->node, node))
		return;
	ns_unbind(v, t, i);
	ns_put_node(v, t, node, i->ino);
	i->node = *node;
	i->bound = true;
	i->origin_parent = 0;
	ns_put(v, t, i);
}

void ns_unbind(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	if (!i->bound)
		return;
	if (ns_ino_of(v, t, &i->node) == i->ino)
		store_delete(db_store(t), node_key(&key, &i->node));
	i->bound = false;
	ns_put(v, t, i);
}

uint64_t ns_ino_of(struct vfs *v, struct txn *t, const struct id *node)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	(void)v;
	(void)node_key(&key, node);
	/* What is shown is in the database. */
	int r = db_is_new(t, node) ? store_get_pending(db_store(t), buf_slice(&key), &value)
				   : store_get(db_store(t), buf_slice(&key), &value);
	if (r < 0)
		return 0;
	struct reader ino = reader_init(buf_slice(&value));
	return reader_be64(&ino);
}

void ns_stat(const struct inode *i, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = i->ino,
		.st_mode = i->mode,
		.st_nlink = i->gone ? 0 : i->nlink,
		.st_uid = i->uid,
		.st_gid = i->gid,
		.st_rdev = i->rdev,
		.st_size = (off_t)(i->loaded && i->held_ms ? bytes_size(i) : i->size),
		.st_blksize = 4096,
		.st_atim = i->atime,
		.st_mtim = i->mtime,
		.st_ctim = i->ctime,
	};
	ret->st_blocks = (blkcnt_t)bytes_blocks(i);
}

/* The store did not take it: memory goes back to what the store says, before anybody else looks at it. */
static void take_back(struct vfs *v, struct txn *t, const uint64_t *inos, size_t count)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	ns_begin(v, t);
	/* Numbers that it took would be given out after the next start again: others are taken anew. */
	v->ino_limit = v->next_ino;
	for (size_t k = 0; k < count; k++) {
		struct inode *i = *slot_of(v, inos[k]);

		while (i && i->ino != inos[k])
			i = i->next_in_slot;
		if (!i)
			continue;
		int r = store_get(db_store(t), ns_key(&key, 'i', i->ino), &value);
		i->gone = r == -ENOENT;
		i->kept = i->kept && i->gone;
		if (r == 0 && (decode(buf_slice(&value), i) < 0 || links_load(t, i) < 0))
			i->gone = true;
		bytes_undo(v, i);
		publish_recheck(v, t, i);
		ns_release(v, i);
	}
	if (count)
		(void)graves_load(v, t);
}

/* Takes the list of inodes this operation wrote; they may be released from now on. */
static uint64_t *take_touched(struct vfs *v, size_t *ret_count, bool release)
{
	size_t n = v->touched_count;
	uint64_t *inos = n ? xcalloc(n, sizeof(*inos)) : NULL;

	for (size_t k = 0; k < n; k++) {
		inos[k] = v->touched[k]->ino;
		v->touched[k]->touched = false;
	}
	for (size_t k = 0; release && k < n; k++)
		ns_release(v, v->touched[k]);
	v->touched_count = 0;
	*ret_count = n;
	return inos;
}

static int end(struct vfs *v, struct txn *t, int r, bool later)
{
	size_t count = 0;

	if (r >= 0) {
		int err = db_prepare(t);

		r = err < 0 ? err : r;
	}
	AUTO(free_ptr) uint64_t *inos = take_touched(v, &count, r >= 0);
	struct doomed *doomed = bytes_take_doomed(v);
	if (r < 0) {
		db_restart(t);
	} else {
		/* A file is removed only after what gave it up is written. */
		int err = later && !doomed ? db_try_commit_later(t) : db_try_commit(t);

		r = err < 0 ? err : r;
	}
	if (r < 0) {
		take_back(v, t, inos, count);
		db_abort(t);
	}
	bytes_settle_doomed(doomed, r >= 0);
	return r;
}

int ns_end(struct vfs *v, struct txn *t, int r)
{
	return end(v, t, r, false);
}

int ns_end_later(struct vfs *v, struct txn *t, int r)
{
	if (r >= 0)
		vfs_kick(v, UINT64_MAX); /* the syncer writes it if nobody else does */
	return end(v, t, r, true);
}

void project_committed(void *ctx, struct txn *t, int result)
{
	struct vfs *v = ctx;
	size_t count = 0;
	AUTO(free_ptr) uint64_t *inos = take_touched(v, &count, result >= 0);
	struct doomed *doomed = bytes_take_doomed(v);

	if (result < 0)
		take_back(v, t, inos, count);
	bytes_settle_doomed_later(v, doomed, result >= 0);
}
