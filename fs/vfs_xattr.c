/* Extended attributes: those of programs, kept beside the inode, and the facts about a record. */
#include "fs/vfs_i.h"

#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define XATTR_NAME_BYTES_MAX 255
#define XATTR_VALUE_BYTES_MAX 65536

static struct slice xattr_key(struct buf *key, uint64_t ino, const char *name)
{
	return ns_dentry_key(key, 'x', ino, name);
}

/* 0 for a name that can be stored; the kernel has said already who may use which. */
static int check_namespace(const char *name)
{
	static const char *const prefixes[] = {"user.", "trusted.", "security."};

	for (size_t k = 0; k < countof(prefixes); k++) {
		size_t n = strlen(prefixes[k]);

		if (strncmp(name, prefixes[k], n) == 0)
			return name[n] ? 0 : -EINVAL;
	}
	return -EOPNOTSUPP;
}

static void put_author(struct vfs *v, uint64_t author, struct buf *out)
{
	struct device d;

	if (db_member_locked(v->db, author, &d) == 0)
		buf_printf(out, "%s", d.name);
	else
		buf_printf(out, "%016llx", (unsigned long long)author);
}

static int put_program(struct txn *t, const struct id *node, struct buf *out)
{
	char name[CHANGE_PROGRAM_BYTES_MAX + 1];

	if (db_saved_by(t, node, name) < 0)
		return -ENODATA;
	buf_printf(out, "%s", name);
	return 0;
}

static void put_time(uint64_t ms, struct buf *out)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char text[40];

	(void)gmtime_r(&seconds, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(out, "%s.%03uZ", text, (unsigned)(ms % 1000));
}

/* Facts about the record: hidden from listxattr, so that nobody copies them. */
static int blaze_fact(struct vfs *v, struct txn *t, const struct inode *i, const char *name,
		      struct buf *out)
{
	struct node_info n;
	char hex[ID_HEX_BYTES];

	struct link record = links_at(i, 0);
	for (size_t k = 1; k <= i->link_count && !record.bound; k++)
		record = links_at(i, k);
	if (strcmp(name, "type") == 0 && !record.bound) {
		buf_printf(out, "local");
		return 0;
	}
	if (!record.bound || db_node(t, &record.node, &n) < 0)
		return -ENODATA;
	int r = 0;
	id_hex(&n.id, hex);
	if (strcmp(name, "id") == 0)
		buf_printf(out, "%s", hex);
	else if (strcmp(name, "rev") == 0)
		buf_printf(out, "%llx-%04llx", (unsigned long long)n.rev.lamport,
			   (unsigned long long)(n.rev.actor >> 48));
	else if (strcmp(name, "author") == 0)
		put_author(v, n.author, out);
	else if (strcmp(name, "program") == 0)
		r = put_program(t, &n.id, out);
	else if (strcmp(name, "modified") == 0)
		put_time(n.modified_ms, out);
	else if (strcmp(name, "synced") == 0)
		buf_printf(out, "%u", db_synced_count(t, &n.id));
	else if (strcmp(name, "conflicts") == 0)
		buf_printf(out, "%u", n.conflicts);
	else if (strcmp(name, "type") == 0)
		buf_printf(out, "%s",
			   n.kind == NODE_DIR	    ? "collection"
			   : n.kind == NODE_SYMLINK ? "symlink"
			   : n.raw		    ? "text"
						    : "json");
	else
		r = -ENODATA;
	node_info_fini(&n);
	return r;
}

/*
 * A file that has no name any more, but is open, is not in the store: what it had is in i->xattrs, one after
 * the other, name and value. Where the one of this name is; its value in *ret if that is not NULL.
 */
static bool find_kept(const struct inode *i, const char *name, size_t *ret_at, struct slice *ret)
{
	struct reader r = reader_init(buf_slice(&i->xattrs));

	while (reader_left(&r) > 0) {
		*ret_at = i->xattrs.len - reader_left(&r);
		struct slice there = reader_bytes(&r, XATTR_NAME_BYTES_MAX);
		struct slice value = reader_bytes(&r, XATTR_VALUE_BYTES_MAX);

		if (slice_eq(there, SLICE_STR(name))) {
			*ret = value;
			return true;
		}
	}
	return false;
}

void vfs_keep_xattr(struct inode *i, struct slice name, struct slice value)
{
	buf_bytes(&i->xattrs, name);
	buf_bytes(&i->xattrs, value);
}

static void drop_kept(struct inode *i, size_t at, struct slice value)
{
	size_t end = (size_t)(value.data + value.len - i->xattrs.data);

	memmove(i->xattrs.data + at, i->xattrs.data + end, i->xattrs.len - end);
	i->xattrs.len -= end - at;
}

static int get(struct txn *t, const struct inode *i, const char *name, struct buf *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct slice value;
	size_t at = 0;

	if (!i->gone)
		return store_get(db_store(t), xattr_key(&key, i->ino, name), ret);
	if (!find_kept(i, name, &at, &value))
		return -ENOENT;
	buf_slice_append(ret, value);
	return 0;
}

/* value: NULL = take it away. */
static void put(struct txn *t, struct inode *i, const char *name, const struct slice *value)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct slice k = xattr_key(&key, i->ino, name);
	struct slice old;
	size_t at = 0;

	i->plain = i->plain && !value;
	if (!i->gone && value)
		store_put(db_store(t), k, *value);
	else if (!i->gone)
		store_delete(db_store(t), k);
	else if (find_kept(i, name, &at, &old))
		drop_kept(i, at, old);
	if (i->gone && value)
		vfs_keep_xattr(i, SLICE_STR(name), *value);
}

int vfs_getxattr(struct vfs *v, uint64_t ino, const char *name, struct buf *ret)
{
	const char *fact = strncmp(name, "user.blaze.", 11) == 0 ? name + 11
			   : strncmp(name, "blaze.", 6) == 0	 ? name + 6
								 : NULL;
	buf_clear(ret);
	int r = fact ? 0 : check_namespace(name);
	if (r < 0)
		return r;
	struct txn *t = db_begin(v->db);
	const struct inode *i = ns_get(v, t, ino);
	r = !i ? -ENOENT : fact ? blaze_fact(v, t, i, fact, ret) : get(t, i, name, ret);

	db_abort(t);
	return r == -ENOENT && i ? -ENODATA : r;
}

struct xattr_list {
	struct buf *out;
	bool all; /**< the trusted ones, too */
};

static bool add_name(struct xattr_list *l, struct slice name)
{
	if (!l->all && name.len > 8 && memcmp(name.data, "trusted.", 8) == 0)
		return true;
	buf_slice_append(l->out, name);
	buf_u8(l->out, 0);
	return true;
}

static bool add_stored(void *ctx, struct slice key, struct slice value)
{
	(void)value;
	return add_name(ctx, SLICE(key.data + 10, key.len - 10));
}

int vfs_listxattr(struct vfs *v, const struct vfs_caller *c, uint64_t ino, struct buf *ret)
{
	struct xattr_list l = {.out = ret, .all = c->uid == 0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	int r = 0;
	struct txn *t = db_begin(v->db);
	const struct inode *i = ns_get(v, t, ino);

	buf_clear(ret);
	if (i && i->gone) {
		struct reader kept = reader_init(buf_slice(&i->xattrs));

		while (reader_left(&kept) > 0) {
			(void)add_name(&l, reader_bytes(&kept, XATTR_NAME_BYTES_MAX));
			(void)reader_bytes(&kept, XATTR_VALUE_BYTES_MAX);
		}
	} else {
		r = store_scan(db_store(t), ns_key(&key, 'x', ino), SLICE("", 0), add_stored, &l);
	}
	db_abort(t);
	return r;
}

static int check_xattr(const char *name)
{
	if (strncmp(name, "blaze.", 6) == 0)
		return -EPERM;
	return strlen(name) > XATTR_NAME_BYTES_MAX ? -ERANGE : check_namespace(name);
}

int vfs_setxattr(struct vfs *v, uint64_t ino, const char *name, struct slice value, int flags)
{
	AUTO(buf_fini) struct buf old = {0};
	int r = check_xattr(name);

	if (r == 0 && strncmp(name, "user.blaze.", 11) == 0)
		return 0; /* a copy of a record's facts: accepted, so that copying in does not fail */
	if (r == 0 && value.len > XATTR_VALUE_BYTES_MAX)
		r = -E2BIG;
	if (r < 0)
		return r;
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	bool exists = i && get(t, i, name, &old) == 0;
	if (!i)
		r = -ENOENT;
	else if (exists && (flags & XATTR_CREATE))
		r = -EEXIST;
	else if (!exists && (flags & XATTR_REPLACE))
		r = -ENODATA;
	else if (db_is_read_only(v->db))
		r = -EROFS;
	if (r == 0) {
		put(t, i, name, &value);
		ns_touch_times(v, t, i, false);
	}
	return ns_end(v, t, r);
}

int vfs_removexattr(struct vfs *v, uint64_t ino, const char *name)
{
	AUTO(buf_fini) struct buf old = {0};
	int r = check_xattr(name);

	if (r < 0)
		return r;
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	r = !i ? -ENOENT : get(t, i, name, &old) == 0 ? 0 : -ENODATA;
	if (r == 0 && db_is_read_only(v->db))
		r = -EROFS;
	if (r == 0) {
		put(t, i, name, NULL);
		ns_touch_times(v, t, i, false);
	}
	return ns_end(v, t, r);
}
