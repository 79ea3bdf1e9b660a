/*
 * The yardstick: the least a FUSE file system has to do. All in memory, one lock, and the same promises
 * to the kernel as Blaze makes: entries, attributes, pages and listings kept, missing names too, no FLUSH
 * for files opened to read, xattrs. What Blaze costs beyond it is the price of the database, not of FUSE.
 *
 *   memfs MOUNTPOINT	in the foreground; prints "ready" when the kernel has accepted it
 */
#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define KEEP_SECONDS 86400.0
#define BUCKETS (1u << 18)
#define WORKERS_MAX 4

struct node {
	struct stat st;
	uint64_t lookups;
	char *data; /* of a file, or a symlink's target */
	size_t cap;
	struct entry *first; /* of a directory: its entries */
	struct node *parent;
};

struct entry {
	struct node *dir;
	struct node *node;
	struct entry *next_in_bucket;
	struct entry *prev, *next; /* in the directory */
	char name[];
};

struct listed {
	char *name;
	struct node *node;
};

struct listing {
	struct listed *entries;
	size_t count;
};

/* One of each: this program is one file system. All protected by lock, but root. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *buckets[BUCKETS];
static struct node root = {.lookups = 1};
static uint64_t next_ino = 2;

/* ---- nodes and entries ----------------------------------------------------------------------- */

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static fuse_ino_t ino_of(const struct node *n)
{
	return n == &root ? FUSE_ROOT_ID : (uintptr_t)n;
}

static struct timespec now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return t;
}

static struct entry **bucket_of(const struct node *dir, const char *name)
{
	uint64_t h = (uint64_t)(uintptr_t)dir * UINT64_C(0x9e3779b97f4a7c15);

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return &buckets[(h >> 20) % BUCKETS];
}

static struct entry *find(const struct node *dir, const char *name)
{
	struct entry *e = *bucket_of(dir, name);

	while (e && (e->dir != dir || strcmp(e->name, name) != 0))
		e = e->next_in_bucket;
	return e;
}

static void touch(struct node *n)
{
	n->st.st_mtim = n->st.st_ctim = now();
}

static void add(struct node *dir, const char *name, struct node *n)
{
	size_t bytes = strlen(name) + 1;
	struct entry *e = must(calloc(1, sizeof(*e) + bytes));
	struct entry **bucket = bucket_of(dir, name);

	memcpy(e->name, name, bytes);
	e->dir = dir;
	e->node = n;
	e->next_in_bucket = *bucket;
	*bucket = e;
	e->next = dir->first;
	if (e->next)
		e->next->prev = e;
	dir->first = e;
	n->parent = dir;
	touch(dir);
}

static void drop(struct node *n)
{
	if (n->lookups || n->st.st_nlink)
		return;
	free(n->data);
	free(n);
}

/** Takes the name away; the node goes with its last name and last lookup. */
static void take(struct entry *e)
{
	struct entry **at = bucket_of(e->dir, e->name);
	struct node *n = e->node;

	while (*at != e)
		at = &(*at)->next_in_bucket;
	*at = e->next_in_bucket;
	if (e->prev)
		e->prev->next = e->next;
	else
		e->dir->first = e->next;
	if (e->next)
		e->next->prev = e->prev;
	touch(e->dir);
	n->st.st_nlink = S_ISDIR(n->st.st_mode) ? 0 : n->st.st_nlink - 1;
	n->st.st_ctim = now();
	free(e);
	drop(n);
}

static struct node *new_node(fuse_req_t req, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct node *n = must(calloc(1, sizeof(*n)));

	n->st = (struct stat){
		.st_ino = next_ino++,
		.st_mode = mode,
		.st_nlink = S_ISDIR(mode) ? 2 : 1,
		.st_uid = ctx->uid,
		.st_gid = ctx->gid,
		.st_blksize = 4096,
	};
	touch(n);
	n->st.st_atim = n->st.st_mtim;
	return n;
}

static void resize(struct node *n, size_t size)
{
	size_t old = (size_t)n->st.st_size;

	if (size > n->cap) {
		n->cap = size > 4096 ? size * 2 : size;
		n->data = must(realloc(n->data, n->cap));
	}
	if (size > old)
		memset(n->data + old, 0, size - old);
	n->st.st_size = (off_t)size;
	n->st.st_blocks = (blkcnt_t)(size + 511) / 512;
	touch(n);
}

/** Counts a lookup. */
static struct fuse_entry_param entry_param(struct node *n)
{
	n->lookups++;
	return (struct fuse_entry_param){
		.ino = ino_of(n),
		.attr = n->st,
		.attr_timeout = KEEP_SECONDS,
		.entry_timeout = KEEP_SECONDS,
	};
}

/* ---- names ----------------------------------------------------------------------------------- */

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.entry_timeout = KEEP_SECONDS};

	pthread_mutex_lock(&lock);
	struct entry *found = find(node_of(parent), name);
	if (found)
		e = entry_param(found->node);
	pthread_mutex_unlock(&lock);
	fuse_reply_entry(req, &e);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct node *n = node_of(ino);

	pthread_mutex_lock(&lock);
	if (n != &root) {
		assert(n->lookups >= count);
		n->lookups -= count;
		drop(n);
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_none(req);
}

/** Makes a node at (parent, name): 0 or an errno. */
static int make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_entry_param *ret)
{
	struct node *dir = node_of(parent);
	int r = EEXIST;

	pthread_mutex_lock(&lock);
	if (!find(dir, name)) {
		struct node *n = new_node(req, mode);

		add(dir, name, n);
		*ret = entry_param(n);
		r = 0;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

static void reply_made(fuse_req_t req, int r, const struct fuse_entry_param *e)
{
	if (r)
		fuse_reply_err(req, r);
	else
		fuse_reply_entry(req, e);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param e;

	reply_made(req, make(req, parent, name, S_IFDIR | mode, &e), &e);
}

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fuse_entry_param e;

	(void)rdev;
	reply_made(req, make(req, parent, name, mode, &e), &e);
}

static void do_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;
	int r = make(req, parent, name, S_IFLNK | 0777, &e);

	if (!r) {
		struct node *n = node_of(e.ino);

		pthread_mutex_lock(&lock);
		n->data = must(strdup(target));
		n->cap = strlen(target) + 1;
		n->st.st_size = e.attr.st_size = (off_t)strlen(target);
		pthread_mutex_unlock(&lock);
	}
	reply_made(req, r, &e);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_readlink(req, node_of(ino)->data);
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct node *n = node_of(ino), *dir = node_of(parent);
	struct fuse_entry_param e;
	int r = EEXIST;

	pthread_mutex_lock(&lock);
	if (!find(dir, name)) {
		add(dir, name, n);
		n->st.st_nlink++;
		e = entry_param(n);
		r = 0;
	}
	pthread_mutex_unlock(&lock);
	reply_made(req, r, &e);
}

static void open_policy(struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param e;
	int r = make(req, parent, name, S_IFREG | mode, &e);

	open_policy(fi);
	if (r)
		fuse_reply_err(req, r);
	else
		fuse_reply_create(req, &e, fi);
}

/** Both unlink and rmdir: the kernel has checked which it is. */
static void do_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&lock);
	struct entry *e = find(node_of(parent), name);
	int r = !e ? ENOENT : e->node->first ? ENOTEMPTY : 0;
	if (!r)
		take(e);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, r);
}

static int rename_locked(struct node *from_dir, const char *from, struct node *to_dir,
			 const char *to, unsigned flags)
{
	struct entry *e = find(from_dir, from);
	struct entry *over = find(to_dir, to);

	if (!e)
		return ENOENT;
	if (flags)
		return EINVAL; /* programs fall back to a plain rename */
	if (over && over->node == e->node)
		return 0;
	if (over && over->node->first)
		return ENOTEMPTY;
	struct node *n = e->node;
	nlink_t links = n->st.st_nlink;
	if (over)
		take(over);
	n->lookups++; /* keeps it while it has no name */
	take(e);
	n->lookups--;
	n->st.st_nlink = links;
	add(to_dir, to, n);
	return 0;
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned flags)
{
	pthread_mutex_lock(&lock);
	int r = rename_locked(node_of(parent), name, node_of(new_parent), new_name, flags);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, r);
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	pthread_mutex_lock(&lock);
	struct stat st = node_of(ino)->st;
	pthread_mutex_unlock(&lock);
	fuse_reply_attr(req, &st, KEEP_SECONDS);
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int set,
		       struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);

	(void)fi;
	pthread_mutex_lock(&lock);
	if (set & FUSE_SET_ATTR_MODE)
		n->st.st_mode = (n->st.st_mode & S_IFMT) | (to->st_mode & 07777);
	if (set & FUSE_SET_ATTR_UID)
		n->st.st_uid = to->st_uid;
	if (set & FUSE_SET_ATTR_GID)
		n->st.st_gid = to->st_gid;
	if (set & FUSE_SET_ATTR_SIZE)
		resize(n, (size_t)to->st_size);
	if (set & FUSE_SET_ATTR_ATIME)
		n->st.st_atim = set & FUSE_SET_ATTR_ATIME_NOW ? now() : to->st_atim;
	if (set & FUSE_SET_ATTR_MTIME)
		n->st.st_mtim = set & FUSE_SET_ATTR_MTIME_NOW ? now() : to->st_mtim;
	n->st.st_ctim = now();
	struct stat st = n->st;
	pthread_mutex_unlock(&lock);
	fuse_reply_attr(req, &st, KEEP_SECONDS);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	(void)ino;
	(void)name;
	(void)size;
	/* Not ENOSYS: Blaze has extended attributes, so the kernel must go on asking here, too. */
	fuse_reply_err(req, ENODATA);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	(void)ino;
	(void)name;
	(void)value;
	(void)size;
	(void)flags;
	fuse_reply_err(req, EOPNOTSUPP);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	(void)ino;
	if (size)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_xattr(req, 0);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (fi->flags & O_TRUNC) {
		pthread_mutex_lock(&lock);
		resize(node_of(ino), 0);
		pthread_mutex_unlock(&lock);
	}
	open_policy(fi);
	fuse_reply_open(req, fi);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);
	size_t at = (size_t)off;
	char *copy = must(malloc(size));

	(void)fi;
	pthread_mutex_lock(&lock);
	size_t all = (size_t)n->st.st_size;
	size_t len = at >= all ? 0 : all - at < size ? all - at : size;
	if (len)
		memcpy(copy, n->data + at, len);
	pthread_mutex_unlock(&lock);
	fuse_reply_buf(req, copy, len);
	free(copy);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);
	size_t end = (size_t)off + size;

	(void)fi;
	pthread_mutex_lock(&lock);
	if (end > (size_t)n->st.st_size)
		resize(n, end);
	memcpy(n->data + off, data, size);
	touch(n);
	pthread_mutex_unlock(&lock);
	fuse_reply_write(req, size);
}

static void do_nothing(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

/* ---- listings -------------------------------------------------------------------------------- */

static void list_add(struct listing *l, const char *name, struct node *n)
{
	l->entries = must(realloc(l->entries, (l->count + 1) * sizeof(*l->entries)));
	l->entries[l->count++] = (struct listed){.name = must(strdup(name)), .node = n};
	n->lookups++; /* stays valid until the listing is closed */
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l = must(calloc(1, sizeof(*l)));
	struct node *dir = node_of(ino);

	pthread_mutex_lock(&lock);
	list_add(l, ".", dir);
	list_add(l, "..", dir->parent ? dir->parent : &root);
	for (struct entry *e = dir->first; e; e = e->next)
		list_add(l, e->name, e->node);
	pthread_mutex_unlock(&lock);
	fi->fh = (uintptr_t)l;
	fi->cache_readdir = fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l = (struct listing *)(uintptr_t)fi->fh;

	(void)ino;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < l->count; i++) {
		struct node *n = l->entries[i].node;

		n->lookups--;
		if (n != &root)
			drop(n);
		free(l->entries[i].name);
	}
	pthread_mutex_unlock(&lock);
	free(l->entries);
	free(l);
	fuse_reply_err(req, 0);
}

static void list(fuse_req_t req, const struct listing *l, size_t size, off_t off, bool plus)
{
	char *bytes = must(malloc(size));
	size_t len = 0;

	pthread_mutex_lock(&lock);
	for (size_t i = (size_t)off; i < l->count; i++) {
		struct node *n = l->entries[i].node;
		struct fuse_entry_param e = {.attr = n->st};
		bool counted = plus && i >= 2;
		size_t room = size - len, n_bytes;

		if (counted)
			e = entry_param(n);
		if (plus)
			n_bytes = fuse_add_direntry_plus(req, bytes + len, room, l->entries[i].name,
							 &e, (off_t)i + 1);
		else
			n_bytes = fuse_add_direntry(req, bytes + len, room, l->entries[i].name,
						    &e.attr, (off_t)i + 1);
		if (n_bytes > room) {
			n->lookups -= counted;
			break;
		}
		len += n_bytes;
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_buf(req, bytes, len);
	free(bytes);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)ino;
	list(req, (const struct listing *)(uintptr_t)fi->fh, size, off, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)ino;
	list(req, (const struct listing *)(uintptr_t)fi->fh, size, off, true);
}

/* ---- the session ----------------------------------------------------------------------------- */

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE |
				  FUSE_CAP_SPLICE_READ);
}

static const struct fuse_lowlevel_ops table = {
	.init = do_init,
	.lookup = do_lookup,
	.forget = do_forget,
	.mkdir = do_mkdir,
	.mknod = do_mknod,
	.symlink = do_symlink,
	.readlink = do_readlink,
	.link = do_link,
	.create = do_create,
	.unlink = do_remove,
	.rmdir = do_remove,
	.rename = do_rename,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.getxattr = do_getxattr,
	.setxattr = do_setxattr,
	.listxattr = do_listxattr,
	.open = do_open,
	.read = do_read,
	.write = do_write,
	.flush = do_nothing,
	.release = do_nothing,
	.opendir = do_opendir,
	.readdir = do_readdir,
	.readdirplus = do_readdirplus,
	.releasedir = do_releasedir,
};

static ssize_t device_read(int fd, void *data, size_t size, void *userdata)
{
	(void)userdata;
	return read(fd, data, size);
}

/** As fs/init_patch.c: libfuse 3.14 forgets to say FUSE_PARALLEL_DIROPS. */
static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	static bool answered;

	(void)userdata;
	if (answered || count != 2 || iov[1].iov_len != sizeof(struct fuse_init_out))
		return writev(fd, iov, count);
	answered = true;
	((struct fuse_init_out *)iov[1].iov_base)->flags |= FUSE_PARALLEL_DIROPS;
	ssize_t r = writev(fd, iov, count);
	puts("ready");
	(void)fflush(stdout);
	return r;
}

int main(int argc, char **argv)
{
	static const struct fuse_custom_io io = {.read = device_read, .writev = device_writev};
	char name[] = "memfs", flag[] = "-o",
	     list_of_options[] = "fsname=memfs,subtype=memfs,nosuid,nodev,default_permissions";
	char *fuse_argv[] = {name, flag, list_of_options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, fuse_argv);

	if (argc != 2) {
		(void)fputs("usage: memfs MOUNTPOINT\n", stderr);
		return 2;
	}
	root.st = (struct stat){
		.st_ino = 1, .st_mode = S_IFDIR | 0755, .st_nlink = 2, .st_uid = getuid()};
	touch(&root);
	struct fuse_session *se = fuse_session_new(&args, &table, sizeof(table), NULL);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	fuse_opt_free_args(&args);
	if (!se || !config || fuse_set_signal_handlers(se) < 0 ||
	    fuse_session_mount(se, argv[1]) < 0 ||
	    fuse_session_custom_io(se, &io, fuse_session_fd(se)) < 0)
		return 1;
	fuse_loop_cfg_set_max_threads(config, WORKERS_MAX);
	int r = fuse_session_loop_mt(se, config);
	fuse_loop_cfg_destroy(config);
	fuse_session_unmount(se);
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	return r < 0;
}
