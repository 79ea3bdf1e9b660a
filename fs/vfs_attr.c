/* Attributes and extended attributes. */
#include "fs/bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#define XATTR_NAME_BYTES_MAX 255
#define XATTR_VALUE_BYTES_MAX 65536

int vfs_getattr(struct vfs *v, uint64_t ino, struct stat *ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);

	if (i) {
		ns_stat(i, ret);
		ns_release(v, i);
	}
	db_abort(t);
	return i ? 0 : -ENOENT;
}

#define TIMES (VFS_SET_ATIME | VFS_SET_MTIME | VFS_SET_ATIME_NOW | VFS_SET_MTIME_NOW)

static void set_times(struct inode *i, const struct stat *to, unsigned set)
{
	struct timespec now = ns_now();

	if (set & VFS_SET_ATIME_NOW)
		i->atime = now;
	else if (set & VFS_SET_ATIME)
		i->atime = to->st_atim;
	if (set & VFS_SET_MTIME_NOW)
		i->mtime = now;
	else if (set & VFS_SET_MTIME)
		i->mtime = to->st_mtim;
	i->ctime = now;
}

uint64_t vfs_handle_epoch(const struct vfs *v, const struct vfs_handle *h)
{
	return h && (h->flags & O_ACCMODE) == O_RDWR ? h->epoch : v->epoch;
}

/* What a first unpublished write is based on: see bases.c. */
static void begin_write(struct vfs *v, struct inode *i, const struct vfs_handle *h, pid_t pid,
			bool whole)
{
	if (i->dirty || i->unpublished)
		return;
	i->base_epoch = whole && i->bound ? bases_epoch(v, pid, &i->node, vfs_handle_epoch(v, h))
					  : shown_epoch(v, i);
	i->whole_epoch = i->base_epoch;
	i->replaced = 0;
	shown_forget(v, i);
}

int vfs_resize(struct vfs *v, struct txn *t, struct inode *i, uint64_t size,
	       const struct vfs_handle *h, pid_t pid)
{
	int r = size > INT64_MAX ? -EFBIG : 0;

	if (r == 0)
		r = bytes_resize(v, t, i, size);
	if (r < 0)
		return r;
	begin_write(v, i, h, pid, size == 0);
	i->dirty = true;
	i->size = size;
	i->mtime = i->ctime = ns_now();
	i->mode &= ~(mode_t)S_ISUID;
	return 0;
}

int vfs_setattr(struct vfs *v, const struct vfs_caller *c, uint64_t ino, struct vfs_handle *h,
		const struct stat *to, unsigned set, struct stat *ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	int r = i ? 0 : -ENOENT;

	if (r == 0 && (set & VFS_SET_SIZE)) {
		r = !S_ISREG(i->mode) ? -EINVAL
				      : vfs_resize(v, t, i, (uint64_t)to->st_size, h, c->pid);
		if (r == 0 && !h && i->writers == 0)
			r = publish_file(v, t, i, false); /* truncate(2): no close will come */
		else if (r == 0)
			publish_written(v, t, i);
	}
	if (r == 0) {
		if (set & VFS_SET_MODE)
			i->mode = (i->mode & S_IFMT) | (to->st_mode & 07777);
		if (set & VFS_SET_UID)
			i->uid = to->st_uid;
		if (set & VFS_SET_GID)
			i->gid = to->st_gid;
		if (set & TIMES)
			set_times(i, to, set);
		i->ctime = ns_now();
		ns_put(v, t, i);
	}
	if (r == 0 && (set & VFS_SET_MODE) && S_ISREG(i->mode))
		r = links_put_exec(t, i);
	if (r >= 0)
		ns_stat(i, ret);
	/* What goes with content that is not closed yet is closed with it; times alone may be lost, too. */
	bool later = i && !i->file && !i->stored_file &&
		     ((i->writers > 0 && i->unpublished) || (set & ~TIMES) == 0);
	return later ? ns_end_later(v, t, r < 0 ? r : 0) : ns_end(v, t, r < 0 ? r : 0);
}

int vfs_readlink(struct vfs *v, uint64_t ino, struct buf *ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	int r = !i ? -ENOENT : !S_ISLNK(i->mode) ? -EINVAL : bytes_load(v, t, i);

	buf_clear(ret);
	/* A record's link may have been safe where it was, and its directory moved since. */
	for (size_t k = 0; r == 0 && k <= i->link_count; k++) {
		const struct link name = links_at(i, k);

		if (name.bound &&
		    !publish_safe_target(v, t, ns_get(v, t, name.parent), buf_slice(&i->data)))
			r = -EACCES;
	}
	if (r == 0) {
		buf_slice_append(ret, buf_slice(&i->data));
		bytes_drop(v, i);
	}
	(void)buf_str(ret);
	db_abort(t);
	return r;
}

/* ---- extended attributes ------------------------------------------------------------------------ */

static struct slice xattr_key(struct buf *key, uint64_t ino, const char *name)
{
	return ns_dentry_key(key, 'x', ino, name);
}

static bool is_user(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
	       strncmp(name, "security.", 9) == 0;
}

static void put_author(struct vfs *v, uint64_t author, struct buf *out)
{
	struct device d;

	if (db_member_locked(v->db, author, &d) == 0)
		buf_printf(out, "%s", d.name);
	else
		buf_printf(out, "%016llx", (unsigned long long)author);
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

int vfs_getxattr(struct vfs *v, uint64_t ino, const char *name, struct buf *ret)
{
	AUTO(buf_fini) struct buf key = {0};
	const char *fact = strncmp(name, "user.blaze.", 11) == 0 ? name + 11
			   : strncmp(name, "blaze.", 6) == 0	 ? name + 6
								 : NULL;
	buf_clear(ret);
	if (!fact && !is_user(name))
		return strncmp(name, "system.", 7) == 0 ? -EOPNOTSUPP : -ENODATA;
	struct txn *t = db_begin(v->db);
	const struct inode *i = ns_get(v, t, ino);
	int r = !i     ? -ENOENT
		: fact ? blaze_fact(v, t, i, fact, ret)
		       : store_get(db_store(t), xattr_key(&key, ino, name), ret);

	db_abort(t);
	return r == -ENOENT && i ? -ENODATA : r;
}

static bool add_name(void *ctx, struct slice key, struct slice value)
{
	struct buf *out = ctx;

	(void)value;
	buf_append(out, key.data + 10, key.len - 10);
	buf_u8(out, 0);
	return true;
}

int vfs_listxattr(struct vfs *v, uint64_t ino, struct buf *ret)
{
	AUTO(buf_fini) struct buf key = {0};
	struct txn *t = db_begin(v->db);

	buf_clear(ret);
	int r = store_scan(db_store(t), ns_key(&key, 'x', ino), SLICE("", 0), add_name, ret);
	db_abort(t);
	return r;
}

static int check_xattr(const char *name)
{
	if (strncmp(name, "blaze.", 6) == 0)
		return -EPERM;
	if (!is_user(name))
		return -EOPNOTSUPP;
	return strlen(name) > XATTR_NAME_BYTES_MAX ? -ERANGE : 0;
}

int vfs_setxattr(struct vfs *v, uint64_t ino, const char *name, struct slice value, int flags)
{
	AUTO(buf_fini) struct buf key = {0};
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
	struct slice k = xattr_key(&key, ino, name);
	bool exists = store_get(db_store(t), k, &old) == 0;
	if (!i)
		r = -ENOENT;
	else if (exists && (flags & XATTR_CREATE))
		r = -EEXIST;
	else if (!exists && (flags & XATTR_REPLACE))
		r = -ENODATA;
	if (r == 0) {
		i->plain = false;
		store_put(db_store(t), k, value);
		ns_touch_times(v, t, i, false);
	}
	return ns_end(v, t, r);
}

int vfs_removexattr(struct vfs *v, uint64_t ino, const char *name)
{
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf old = {0};
	int r = check_xattr(name);

	if (r < 0)
		return r;
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	struct slice k = xattr_key(&key, ino, name);
	r = !i ? -ENOENT : store_get(db_store(t), k, &old) == 0 ? 0 : -ENODATA;
	if (r == 0) {
		store_delete(db_store(t), k);
		ns_touch_times(v, t, i, false);
	}
	return ns_end(v, t, r);
}

int vfs_node(struct vfs *v, uint64_t ino, struct id *ret)
{
	struct txn *t = db_begin(v->db);
	const struct inode *i = ns_get(v, t, ino);
	bool bound = i && i->bound;

	if (bound)
		*ret = i->node;
	db_abort(t);
	return bound ? 0 : -ENOENT;
}
