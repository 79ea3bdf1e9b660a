/* Operations on names: the local namespace's side first, then what it means for records. */
#include "core/name.h"
#include "core/platform.h"
#include "fs/bytes.h"
#include "fs/localname.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX 255
#define SYMLINK_BYTES_MAX 4095
#define LINKS_MAX 65000

static int check_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > NAME_BYTES_MAX)
		return n == 0 ? -EINVAL : -ENAMETOOLONG;
	return name_is_reserved(SLICE(name, n)) ? -EPERM : 0;
}

/* The directory, if it exists and is one. */
static int get_dir(struct vfs *v, struct txn *t, uint64_t ino, struct inode **ret)
{
	*ret = ns_get(v, t, ino);
	if (!*ret || (*ret)->gone)
		return -ENOENT;
	return S_ISDIR((*ret)->mode) ? 0 : -ENOTDIR;
}

static int get_entry(struct vfs *v, struct txn *t, uint64_t parent, const char *name,
		     struct inode **ret)
{
	uint64_t ino = 0;
	int r = ns_find(v, t, parent, name, &ino);

	if (r < 0)
		return r;
	*ret = ns_get(v, t, ino);
	return *ret ? 0 : -EIO;
}

/* The same, and the name is its inode's primary one. */
static int select_entry(struct vfs *v, struct txn *t, const struct inode *dir, const char *name,
			struct inode **ret)
{
	int r = get_entry(v, t, dir->ino, name, ret);

	return r == 0 ? links_select(v, t, *ret, dir, name) : r;
}

int vfs_lookup(struct vfs *v, pid_t tid, uint64_t parent, const char *name, struct stat *ret)
{
	struct inode *i = NULL;
	struct txn *t = db_begin(v->db);
	int r = strlen(name) > NAME_BYTES_MAX ? -ENAMETOOLONG : get_entry(v, t, parent, name, &i);

	if (r == 0) {
		i->lookups++;
		ns_stat(i, ret);
	}
	if (r == 0 || r == -ENOENT)
		untold_looked(&v->untold, tid, parent, name, r == 0 ? i->ino : 0);
	db_abort(t);
	return r;
}

int vfs_lookup_ino(struct vfs *v, uint64_t ino, struct stat *ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);

	if (i) {
		i->lookups++;
		ns_stat(i, ret);
	}
	db_abort(t);
	return i ? 0 : -ENOENT;
}

void vfs_forget(struct vfs *v, uint64_t ino, uint64_t count)
{
	const struct vfs_forgotten one = {.ino = ino, .count = count};

	vfs_forget_many(v, &one, 1);
}

void vfs_forget_many(struct vfs *v, const struct vfs_forgotten *list, size_t count)
{
	db_enter(v->db);
	for (size_t k = 0; k < count; k++)
		ns_forget(v, list[k].ino, list[k].count);
	db_leave(v->db);
}

struct making {
	const struct vfs_caller *caller;
	uint64_t parent;
	const char *name;
	mode_t mode;
};

/* A new inode at a free name; the caller publishes. */
static int make(struct vfs *v, struct txn *t, const struct making *m, struct inode **ret_parent,
		struct inode **ret)
{
	uint64_t there = 0;
	struct inode *parent = NULL;
	int r = check_name(m->name);

	if (r == 0)
		r = get_dir(v, t, m->parent, &parent);
	if (r == 0 && ns_find(v, t, m->parent, m->name, &there) == 0)
		r = -EEXIST;
	if (r == 0 && db_is_read_only(v->db))
		r = -EROFS;
	if (r < 0)
		return r;
	mode_t mode = m->mode;
	if (!S_ISLNK(mode))
		mode &= ~(m->caller->umask & 0777);
	struct inode *i = ns_new(v, t, mode);
	i->uid = m->caller->uid;
	i->gid = m->caller->gid;
	if (parent->mode & S_ISGID) {
		i->gid = parent->gid;
		if (S_ISDIR(mode))
			i->mode |= S_ISGID;
	}
	i->local = parent->local || localname_is_local(m->name);
	if (!i->local && !parent->bound)
		r = publish_revive(v, t, parent);
	i->writer = m->caller->pid;
	ns_link(v, t, parent, m->name, i);
	*ret_parent = parent;
	*ret = i;
	return r;
}

/* Ends an operation that hands an inode to the kernel. */
static int finish_made(struct vfs *v, struct txn *t, int r, struct inode *i, struct stat *ret)
{
	if (r == 0) {
		i->lookups++;
		ns_stat(i, ret);
	}
	return ns_end(v, t, r);
}

int vfs_mkdir(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name,
	      mode_t mode, struct stat *ret)
{
	const struct making m = {c, parent, name, S_IFDIR | (mode & 07777)};
	struct inode *dir = NULL;
	struct inode *i = NULL;
	struct txn *t = db_begin(v->db);
	int r = make(v, t, &m, &dir, &i);

	program_acts(v, t, c->pid);
	if (r == 0)
		r = publish_made_dir(v, t, dir, i);
	return finish_made(v, t, r, i, ret);
}

int vfs_mknod(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name,
	      mode_t mode, dev_t rdev, struct stat *ret)
{
	const struct making m = {c, parent, name, mode};
	struct inode *dir = NULL;
	struct inode *i = NULL;

	if (S_ISDIR(mode))
		return -EINVAL;
	struct txn *t = db_begin(v->db);
	int r = make(v, t, &m, &dir, &i);
	if (r == 0) {
		i->rdev = rdev;
		i->local = i->local || !S_ISREG(mode);
		ns_put(v, t, i);
		if (S_ISREG(mode) && !i->local)
			publish_mark(v, t, i, HOLD_MS);
	}
	return finish_made(v, t, r, i, ret);
}

int vfs_symlink(struct vfs *v, const struct vfs_caller *c, const char *target, uint64_t parent,
		const char *name, struct stat *ret)
{
	const struct making m = {c, parent, name, S_IFLNK | 0777};
	struct inode *dir = NULL;
	struct inode *i = NULL;

	if (strlen(target) > SYMLINK_BYTES_MAX)
		return -ENAMETOOLONG;
	struct txn *t = db_begin(v->db);
	int r = make(v, t, &m, &dir, &i);
	if (r == 0) {
		buf_append(&i->data, target, strlen(target));
		i->loaded = true;
		program_wrote(v, i, c->pid);
		r = bytes_store(v, t, i);
		if (!i->local)
			publish_mark(v, t, i, HOLD_SYMLINK_MS);
	}
	return finish_made(v, t, r, i, ret);
}

int vfs_link(struct vfs *v, uint64_t ino, uint64_t parent, const char *name, struct stat *ret)
{
	uint64_t there = 0;
	struct inode *dir = NULL;
	int r = check_name(name);

	if (r < 0)
		return r;
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	r = !i || i->gone ? -ENOENT : get_dir(v, t, parent, &dir);
	if (r == 0 && S_ISDIR(i->mode))
		r = -EPERM;
	if (r == 0 && ns_find(v, t, parent, name, &there) == 0)
		r = -EEXIST;
	if (r == 0 && i->nlink >= LINKS_MAX)
		r = -EMLINK;
	if (r == 0 && db_is_read_only(v->db))
		r = -EROFS;
	if (r == 0) {
		ns_link(v, t, dir, name, i);
		r = links_made(v, t, i, dir, name);
	}
	return finish_made(v, t, r, i, ret);
}

int vfs_create_file(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name,
		    mode_t mode, int flags, struct vfs_handle **ret_handle, struct stat *ret)
{
	const struct making m = {c, parent, name, S_IFREG | (mode & 07777)};
	struct inode *dir = NULL;
	struct inode *i = NULL;
	struct txn *t = db_begin(v->db);
	int r = make(v, t, &m, &dir, &i);

	if (r == -EEXIST && !(flags & O_EXCL)) {
		r = get_entry(v, t, parent, name, &i);
		if (r == 0 && !S_ISREG(i->mode))
			r = -EEXIST;
		if (r == 0) {
			i->lookups++;
			ns_stat(i, ret);
		}
		db_abort(t);
		return r < 0 ? r : vfs_open(v, c, ret->st_ino, flags, ret_handle);
	}
	if (r == 0) {
		struct vfs_handle *h = xcalloc(1, sizeof(*h));

		i->loaded = true;
		if (!i->local)
			publish_mark(v, t, i, LONG_OPEN_MS);
		i->opens++;
		if ((flags & O_ACCMODE) != O_RDONLY)
			i->writers++;
		*h = (struct vfs_handle){
			.inode = i, .flags = flags, .pid = c->pid, .keep_cache = true};
		*ret_handle = h;
		i->lookups++;
		ns_stat(i, ret);
	}
	/* Its close will write it; what is opened to read tells no one of its close. */
	bool closes = (flags & O_ACCMODE) != O_RDONLY && !v->no_open;
	r = closes ? ns_end_later(v, t, r) : ns_end(v, t, r);
	if (r < 0 && i) {
		free(*ret_handle);
		*ret_handle = NULL;
	}
	return r;
}

/* The name an inode is linked at: not the one asked for, when that had to be escaped (ns_find). */
static const char *linked_name(const struct inode *dir, const char *asked, const struct inode *i)
{
	return name_is_plain(SLICE_STR(asked)) || i->parent != dir->ino ? asked : i->name;
}

/* The primary name is gone; the inode with it when that was its last. */
static int drop_name(struct vfs *v, struct txn *t, struct inode *dir, const char *asked,
		     struct inode *i)
{
	AUTO(free_ptr) char *name = xstrdup(linked_name(dir, asked, i));
	bool last = S_ISDIR(i->mode) || i->nlink <= 1;

	/* Who looked it up a moment ago can open it still, as on a local disk. */
	i->kept = last && S_ISREG(i->mode);
	if (last && ns_may_be_open(v, i) && S_ISREG(i->mode))
		(void)bytes_load(v, t, i);
	ns_unlink(v, t, dir, name, i);
	if (!last)
		return links_promote(v, t, i);
	ns_remove(v, t, i);
	return 0;
}

static int gone(struct vfs *v, struct txn *t, struct inode *dir, const char *asked, struct inode *i)
{
	AUTO(free_ptr) char *name = xstrdup(linked_name(dir, asked, i));

	return publish_gone(v, t, dir, name, i);
}

int vfs_unlink(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name)
{
	struct inode *dir = NULL;
	struct inode *i = NULL;
	struct txn *t = db_begin(v->db);
	int r = get_dir(v, t, parent, &dir);

	if (r == 0)
		r = select_entry(v, t, dir, name, &i);
	if (r == 0)
		r = untold_check(&v->untold, c->pid, parent, name, i->ino);
	if (r == 0 && S_ISDIR(i->mode))
		r = -EISDIR;
	if (r == 0 && db_is_read_only(v->db))
		r = -EROFS;
	program_acts(v, t, c->pid);
	store_frees_space(db_store(t));
	if (r == 0)
		r = gone(v, t, dir, name, i);
	if (r == 0)
		r = drop_name(v, t, dir, name, i);
	return ns_end(v, t, r);
}

int vfs_rmdir(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name)
{
	struct inode *dir = NULL;
	struct inode *i = NULL;
	struct txn *t = db_begin(v->db);
	int r = get_dir(v, t, parent, &dir);

	if (r == 0)
		r = get_entry(v, t, parent, name, &i);
	if (r == 0)
		r = untold_check(&v->untold, c->pid, parent, name, i->ino);
	if (r == 0 && !S_ISDIR(i->mode))
		r = -ENOTDIR;
	if (r == 0 && !ns_is_empty(v, t, i->ino))
		r = -ENOTEMPTY;
	if (r == 0 && db_is_read_only(v->db))
		r = -EROFS;
	program_acts(v, t, c->pid);
	store_frees_space(db_store(t));
	if (r == 0 && i->bound) {
		r = gone(v, t, dir, name, i);
		ns_unbind(v, t, i);
	}
	if (r == 0)
		r = drop_name(v, t, dir, name, i);
	return ns_end(v, t, r);
}

/* ---- rename ------------------------------------------------------------------------------------- */

struct renaming {
	const struct vfs_caller *caller;
	struct inode *from_dir;
	const char *from;
	struct inode *to_dir;
	const char *to;
	struct inode *i;    /**< what moves */
	struct inode *over; /**< what is in the way, or NULL */
};

static bool is_below(struct vfs *v, struct txn *t, const struct inode *dir,
		     const struct inode *above)
{
	for (unsigned depth = 0; dir && depth < 4096; depth++) {
		if (dir->ino == above->ino)
			return true;
		if (dir->ino == VFS_ROOT_INO)
			return false;
		dir = ns_get(v, t, dir->parent);
	}
	return true;
}

static int check_rename(struct vfs *v, struct txn *t, const struct renaming *r, unsigned flags)
{
	if (r->over && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!r->over && (flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (S_ISDIR(r->i->mode) && is_below(v, t, r->to_dir, r->i))
		return -EINVAL;
	if (!r->over)
		return 0;
	if (flags & RENAME_EXCHANGE)
		return S_ISDIR(r->over->mode) && is_below(v, t, r->from_dir, r->over) ? -EINVAL : 0;
	if (is_below(v, t, r->from_dir, r->over) && S_ISDIR(r->over->mode))
		return -ENOTEMPTY;
	if (S_ISDIR(r->i->mode) && !S_ISDIR(r->over->mode))
		return -ENOTDIR;
	if (!S_ISDIR(r->i->mode) && S_ISDIR(r->over->mode))
		return -EISDIR;
	return S_ISDIR(r->over->mode) && !ns_is_empty(v, t, r->over->ino) ? -ENOTEMPTY : 0;
}

static void move_name(struct vfs *v, struct txn *t, const struct renaming *r)
{
	AUTO(free_ptr) char *from = xstrdup(linked_name(r->from_dir, r->from, r->i));

	ns_unlink(v, t, r->from_dir, from, r->i);
	ns_link(v, t, r->to_dir, r->to, r->i);
}

static int do_rename(struct vfs *v, struct txn *t, const struct renaming *r)
{
	r->i->mover = r->caller->pid;
	struct rename_from from = {.parent = r->from_dir, .name = r->from, .caller = r->caller};
	struct id over;
	int err = 0;

	if (r->over) {
		bool same_kind = S_ISREG(r->over->mode) && S_ISREG(r->i->mode);

		if (r->over->bound && same_kind && publish_wants(r->to_dir, r->to)) {
			over = r->over->node;
			from.over = &over;
		} else if (r->over->bound) {
			err = db_delete(t, &r->over->node);
			ns_unbind(v, t, r->over);
		}
		if (err < 0)
			return err;
		err = drop_name(v, t, r->to_dir, r->to, r->over);
		if (err < 0)
			return err;
	}
	move_name(v, t, r);
	return publish_renamed(v, t, r->i, &from);
}

/* Names keep their records, contents change places. */
static int exchange_records(struct vfs *v, struct txn *t, struct inode *a, struct inode *b)
{
	struct id x = a->node;
	struct id y = b->node;
	int r = bytes_load(v, t, a);

	if (r == 0)
		r = bytes_load(v, t, b);
	if (r < 0)
		return r;
	ns_unbind(v, t, a);
	ns_bind(v, t, b, &x);
	ns_bind(v, t, a, &y);
	a->dirty = b->dirty = true;
	bases_reset(a, v->epoch);
	bases_reset(b, v->epoch);
	r = publish_file(v, t, a, true);
	if (r == 0) /* a change of its own: both together could be more than can be sent */
		r = bytes_store(v, t, b);
	if (r == 0)
		publish_mark(v, t, b, 0);
	return r;
}

/* One is a record, one is not: the name keeps its record, the other's bytes become its content. */
static int exchange_plain(struct vfs *v, struct txn *t, const struct vfs_caller *c,
			  struct inode *record, struct inode *plain)
{
	struct inode *parent = ns_get(v, t, record->parent);
	struct id node = record->node;
	int r = parent ? bytes_load(v, t, record) : -EIO;

	if (r == 0)
		r = bytes_load(v, t, plain);
	if (r == 0)
		r = bytes_store(v, t, record);
	if (r < 0)
		return r;
	ns_unbind(v, t, record);
	ns_bind(v, t, plain, &node);
	plain->local = false;
	plain->dirty = true;
	const struct saver s = {.pid = c->pid, .writer = plain->writer, .otherwise = v->epoch};
	bases_note(v, plain, &node, &s, true);
	r = publish_file(v, t, plain, true);
	record->local = parent->local || localname_is_local(record->name);
	record->dirty = true;
	return r == 0 ? publish_file(v, t, record, false) : r;
}

/* First half: the record moves with the file where it can; else it ends, and the name is free. */
static int exchange_leave(struct vfs *v, struct txn *t, struct inode *i)
{
	struct inode *parent = ns_get(v, t, i->parent);

	if (!i->bound)
		return 0;
	if (parent && publish_wants(parent, i->name) && db_same_stream(t, &i->node, &parent->node)) {
		graves_bury_now(v, t, parent->ino, i->name);
		return db_put_node(t, &i->node,
				   S_ISDIR(i->mode)   ? NODE_DIR
				   : S_ISLNK(i->mode) ? NODE_SYMLINK
						      : NODE_RECORD,
				   &parent->node, i->name);
	}
	return publish_withdraw(v, t, i);
}

/* Second half, when neither name is held by the other any more. */
static int exchange_arrive(struct vfs *v, struct txn *t, struct inode *i)
{
	return i->bound ? 0 : publish_subtree(v, t, i);
}

static int do_exchange(struct vfs *v, struct txn *t, const struct renaming *r)
{
	struct inode *a = r->i;
	struct inode *b = r->over;
	bool records = a->bound && b->bound && S_ISREG(a->mode) && S_ISREG(b->mode);

	if (a == b)
		return 0;
	AUTO(free_ptr) char *from = xstrdup(linked_name(r->from_dir, r->from, a));
	AUTO(free_ptr) char *to = xstrdup(linked_name(r->to_dir, r->to, b));
	ns_unlink(v, t, r->from_dir, from, a);
	ns_unlink(v, t, r->to_dir, to, b);
	ns_link(v, t, r->to_dir, r->to, a);
	ns_link(v, t, r->from_dir, r->from, b);
	if (records)
		return exchange_records(v, t, a, b);
	if (S_ISREG(a->mode) && S_ISREG(b->mode) && a->bound != b->bound)
		return exchange_plain(v, t, r->caller, a->bound ? a : b, a->bound ? b : a);
	int err = exchange_leave(v, t, a);
	if (err == 0)
		err = exchange_leave(v, t, b);
	if (err == 0)
		err = exchange_arrive(v, t, a);
	return err == 0 ? exchange_arrive(v, t, b) : err;
}

static int find_both(struct vfs *v, struct txn *t, struct renaming *r, uint64_t old_parent,
		     uint64_t new_parent)
{
	int err = get_dir(v, t, old_parent, &r->from_dir);

	if (err == 0)
		err = get_dir(v, t, new_parent, &r->to_dir);
	if (err == 0)
		err = get_entry(v, t, old_parent, r->from, &r->i);
	if (err < 0)
		return err;
	err = get_entry(v, t, new_parent, r->to, &r->over);
	if (err == -ENOENT || (err == 0 && r->i == r->over))
		err = 0;
	else if (err == 0)
		err = links_select(v, t, r->over, r->to_dir, r->to);
	return err == 0 && r->i != r->over ? links_select(v, t, r->i, r->from_dir, r->from) : err;
}

int vfs_rename(struct vfs *v, const struct vfs_caller *c, uint64_t old_parent, const char *old_name,
	       uint64_t new_parent, const char *new_name, unsigned flags)
{
	struct renaming r = {.caller = c, .from = old_name, .to = new_name};
	int err = check_name(new_name);

	if (err < 0)
		return err;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) ||
	    flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	struct txn *t = db_begin(v->db);
	err = find_both(v, t, &r, old_parent, new_parent);
	if (err == 0 && db_is_read_only(v->db))
		err = -EROFS;
	if (err == 0)
		err = untold_check(&v->untold, c->pid, old_parent, old_name, r.i->ino);
	if (err ==
	    0) /* the kernel has just looked it up, and what was there ends; but that may have moved since */
		err = untold_check(&v->untold, c->pid, new_parent, new_name,
				   r.over ? r.over->ino : 0);
	if (err == 0)
		err = check_rename(v, t, &r, flags);
	if (err == 0 && r.i == r.over) { /* the same file: nothing happens */
		db_abort(t);
		return 0;
	}
	if (err == 0 && !r.to_dir->local && !localname_is_local(new_name))
		err = publish_revive(v, t, r.to_dir);
	if (err == 0)
		err = flags & RENAME_EXCHANGE ? do_exchange(v, t, &r) : do_rename(v, t, &r);
	program_acts(v, t, c->pid);
	return ns_end(v, t, err);
}
