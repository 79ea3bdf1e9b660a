/*
 * The publisher's rules: when what is in the local namespace becomes a change of a record.
 *
 * A record's identity hangs on (directory, name). A file that takes the name over, by rename or by being
 * created again within the grace time, is a new content of the same record; the file it replaces is left
 * to those who have it open. What looks temporary is held back until it is renamed or left alone.
 */
#include "core/json.h"
#include "core/log.h"
#include "core/name.h"
#include "fs/bulk.h"
#include "fs/localname.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIRS_DEEP_MAX 512

bool publish_wants(const struct inode *parent, const char *name)
{
	return parent->bound && !parent->local && !localname_is_local(name) &&
	       !name_is_reserved(SLICE_STR(name));
}

/* ---- the list of what is not published yet ----------------------------------------------------- */

void publish_mark(struct vfs *v, struct txn *t, struct inode *i, uint64_t delay_ms)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	uint64_t due = monotonic_ms() + delay_ms;

	if (i->unpublished) {
		if (due < i->due_ms || delay_ms == HOLD_MS)
			due_set(&v->due, i, due);
	} else {
		i->unpublished = true;
		due_add(&v->due, i, due);
		/* Most are published before this is written: then it never is. */
		store_put_fresh(db_store(t), ns_key(&key, 'h', i->ino), SLICE("", 0));
	}
	vfs_kick(v, i->due_ms);
}

void publish_written(struct vfs *v, struct txn *t, struct inode *i)
{
	if (i->gone)
		return;
	if (i->local && i->link_count == 0) /* another name of it may travel */
		bytes_wait(v, i);
	else if (i->unpublished ? i->due_ms == UINT64_MAX : t != NULL)
		publish_mark(v, t, i, LONG_OPEN_MS);
}

void publish_unmark(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	if (!i->unpublished)
		return;
	due_remove(&v->due, i);
	bulk_cancel(v, i);
	i->unpublished = false;
	store_delete(db_store(t), ns_key(&key, 'h', i->ino));
}

/* ---- names that vanish ---------------------------------------------------------------------------- */

int publish_gone(struct vfs *v, struct txn *t, struct inode *parent, const char *name,
		 struct inode *i)
{
	if (!i->bound)
		return 0;
	if (S_ISDIR(i->mode))
		return db_delete(t, &i->node);
	int r = graves_dig(v, t, parent->ino, name, i);
	if (r == 0 && ns_may_be_open(v, i) && S_ISREG(i->mode))
		r = bytes_load(v, t, i);
	ns_unbind(v, t, i);
	return r;
}

/* ---- files ------------------------------------------------------------------------------------- */

/** A node to be created for an inode. */
struct making {
	const struct inode *parent;
	const char *name;
	enum node_kind kind;
};

/*
 * An id that nothing here is bound to. True if it had to pass one: a node of this very name, shown
 * under another because somebody else's came first.
 */
static bool fresh_node(struct vfs *v, struct txn *t, const struct making *m, struct id *ret)
{
	unsigned from = 0;

	for (bool passed = false;; passed = true) {
		from = db_new_id(t, &m->parent->node, m->name, m->kind, from, ret);
		if (ns_ino_of(v, t, ret) == 0 || from > 1000)
			return passed;
		from++;
	}
}

/* The record this file was before it was renamed away, if nobody took that name over meanwhile. */
static bool take_origin(struct vfs *v, struct txn *t, struct inode *i, const struct inode *parent,
			struct id *ret)
{
	enum node_kind kind = NODE_NONE;

	if (!i->origin_parent ||
	    graves_find(v, t, i->origin_parent, i->origin_name, ret, &kind) < 0 ||
	    !id_eq(ret, &i->origin) || !db_same_stream(t, &i->origin, &parent->node) ||
	    ns_ino_of(v, t, ret) != 0) /* a change from elsewhere has brought it back meanwhile */
		return false;
	graves_forget(v, t, i->origin_parent, i->origin_name);
	return true;
}

/*
 * The node that a file's name stands for: the one buried there, for identity hangs on the name; else the
 * one the file was before; else a new one.
 */
void publish_node_for(struct vfs *v, struct txn *t, struct inode *i, const struct inode *parent,
		      const char *name, struct id *ret)
{
	const struct making m = {parent, name, NODE_RECORD};
	enum node_kind kind = NODE_NONE;

	if (graves_find(v, t, parent->ino, name, ret, &kind) == 0 && kind == NODE_RECORD &&
	    ns_ino_of(v, t, ret) == 0) {
		graves_forget(v, t, parent->ino, name);
		return;
	}
	graves_bury_now(v, t, parent->ino, name);
	if (!take_origin(v, t, i, parent, ret))
		(void)fresh_node(v, t, &m, ret);
}

static bool is_record(struct vfs *v, struct txn *t, uint64_t parent, const char *name, size_t len)
{
	AUTO(free_ptr) char *stem = xstrdup(name);
	uint64_t ino = 0;

	stem[len] = 0;
	const struct inode *i = ns_find(v, t, parent, stem, &ino) == 0 ? ns_get(v, t, ino) : NULL;
	return i && i->bound && S_ISREG(i->mode);
}

/* Whether a record of which this name is a variant is beside it: ".r.json.abcdef" of "r.json". */
static bool has_original(struct vfs *v, struct txn *t, uint64_t parent, const char *variant)
{
	if (!localname_is_longer(variant))
		return false;
	for (const char *name = variant; name <= variant + (*variant == '.'); name++) {
		size_t len = strlen(name);

		while ((len = localname_stem(name, len)) > 0) {
			if (is_record(v, t, parent, name, len))
				return true;
		}
	}
	return false;
}

/* A new file may be about to be renamed over a record, and then is that record's next content. */
bool publish_is_temporary(struct vfs *v, struct txn *t, uint64_t parent, const char *name)
{
	return localname_is_temporary(name) || has_original(v, t, parent, name);
}

static bool must_hold(struct vfs *v, struct txn *t, const struct inode *i)
{
	return !i->bound && publish_is_temporary(v, t, i->parent, i->name);
}

/*
 * JSON that does not parse while someone still has it open is most likely half written; so is a file that
 * is empty: a shell's `>` truncates and closes a duplicate before the command writes a byte.
 */
bool publish_is_half_written(struct vfs *v, struct txn *t, struct inode *i, const char *name)
{
	AUTO(buf_fini) struct buf room = {0};
	struct slice now;
	struct json j;

	if (i->writers == 0)
		return false;
	if (i->size == 0)
		return true;
	if (!localname_is_json(name) || i->size > BULK_JSON_BYTES_MAX ||
	    bytes_whole(v, t, i, &room, &now) < 0)
		return false;
	int r = json_scan(now, &j, NULL);
	json_fini(&j);
	return r < 0;
}

/* Why it is not merged by field is in status and in the log of the file; limits also here. */
static void tell_limit(const char *name, const struct saving *s)
{
	AUTO(buf_fini) struct buf why = {0};
	struct json_error e = {0};
	struct json j;

	/* Each level and each value takes a byte at least. */
	if (!localname_is_json(name) || (!s->chunked && s->bytes.len <= JSON_DEPTH_MAX))
		return;
	if (s->chunked) {
		json_say_large(&why);
	} else {
		if (json_scan(s->bytes, &j, &e) < 0 && e.limit)
			json_say(&e, &why);
		json_fini(&j);
	}
	if (why.len == 0)
		return;
	AUTO(free_ptr) char *shown = log_quote(name, strlen(name));
	log_info("%s: %s", shown, buf_str(&why));
}

int publish_put(struct txn *t, const struct link *name, const struct inode *parent,
		struct saving *s, struct rendering *ret_merged)
{
	const struct id *node = &name->node;
	int r = db_keep_node(t, node, NODE_RECORD, &parent->node, name->name);

	if (r == 0)
		r = s->chunked ? db_put_chunks(t, node, s->base, s->bytes)
			       : db_put_content_from(t, node, s->base, s->bytes, &s->own);
	if (r > 0)
		tell_limit(name->name, s);
	if (r >= 0)
		r = db_put_exec(t, node, s->exec);
	return r < 0 ? r : db_shown(t, node, &ret_merged->bytes, &ret_merged->chunked);
}

bool publish_shows(struct txn *t, const struct id *node, struct slice bytes, bool chunked)
{
	struct rendering now = {0};
	bool same = db_shown(t, node, &now.bytes, &now.chunked) == 0 && now.chunked == chunked &&
		    slice_eq(buf_slice(&now.bytes), bytes);

	buf_fini(&now.bytes);
	return same;
}

void publish_done(struct vfs *v, struct txn *t, struct inode *i, struct rendering *merged)
{
	i->base_empty = false;
	bases_reset(i, v->epoch);
	bytes_published(v, t, i, merged);
	ns_put(v, t, i);
	publish_unmark(v, t, i);
}

static int put_content(struct vfs *v, struct txn *t, struct inode *i, const struct inode *parent,
		       struct saving *s)
{
	struct rendering merged = {0};
	const struct link name = links_at(i, 0);

	program_publishes(v, t, i);
	struct doc *empty = i->base_empty ? doc_create() : NULL;
	s->exec = i->mode & S_IXUSR;
	s->base = empty ? empty : bases_of(v, t, i, &i->node, s);
	int r = publish_put(t, &name, parent, s, &merged);
	if (r == 0)
		r = publish_arrived(v, t, i);
	bool same = merged.chunked == s->chunked && slice_eq(buf_slice(&merged.bytes), s->bytes);
	if (r == 0) {
		bases_saved(v, i, &i->node, same ? NULL : STEAL(s->own));
		publish_done(v, t, i, &merged);
	}
	doc_destroy(empty);
	doc_destroy(STEAL(s->own));
	if (r == 0 && !same)
		project_modified(v, t, i);
	buf_fini(&merged.bytes);
	return r;
}

/*
 * Too large to travel. The other devices keep the last version that did, and it goes on counting as
 * unpublished, so that nobody is told it is synced.
 */
int publish_stay_here(struct vfs *v, struct txn *t, struct inode *i)
{
	int r = i->dirty || !i->own_bytes ? bytes_store(v, t, i) : 0;

	if (r < 0)
		return r;
	if (!i->told_large)
		log_warn("a file above %llu TiB stays on this device",
			 MANIFEST_FILE_BYTES_MAX >> 40);
	i->told_large = true;
	publish_mark(v, t, i, HOLD_MS);
	due_set(&v->due, i, UINT64_MAX); /* until it is written again */
	return 0;
}

/* The file becomes the content of that record. */
static void take_over(struct vfs *v, struct inode *i, const struct id *node, pid_t mover)
{
	const struct saver s = {.pid = mover, .writer = i->writer, .otherwise = i->epoch};

	bases_note(v, i, node, &s, true);
}

int publish_file(struct vfs *v, struct txn *t, struct inode *i, bool force)
{
	if (i->link_count > 0)
		return links_publish(v, t, i, force);
	struct id node;
	struct inode *parent = i->parent && !i->gone ? ns_get(v, t, i->parent) : NULL;
	int r = bytes_load(v, t, i);

	if (r < 0)
		return r;
	if (!parent) { /* nothing leads to it any more */
		i->dirty = false;
		publish_unmark(v, t, i);
		return 0;
	}
	if (!i->local && !localname_is_local(i->name))
		r = publish_revive(v, t, parent);
	if (r < 0)
		return r;
	bool wanted = !i->local && publish_wants(parent, i->name);
	if (wanted && i->size > MANIFEST_FILE_BYTES_MAX)
		return publish_stay_here(v, t, i);
	if (!wanted ||
	    (!force && (must_hold(v, t, i) || publish_is_half_written(v, t, i, i->name)))) {
		if (i->dirty || !i->own_bytes)
			r = bytes_store(v, t, i);
		if (r < 0)
			return r;
		if (wanted)
			publish_mark(v, t, i, i->bound ? LONG_OPEN_MS : HOLD_MS);
		else
			publish_unmark(v, t, i);
		return 0;
	}
	AUTO(buf_fini) struct buf room = {0};
	struct saving s = {0};
	r = bulk_content(v, t, i, &room, &s);
	if (r != 0)
		return r < 0 ? r : 0; /* later */
	if (!i->bound) {
		publish_node_for(v, t, i, parent, i->name, &node);
		ns_bind(v, t, i, &node);
		take_over(v, i, &node, i->mover);
	}
	return put_content(v, t, i, parent, &s);
}

/* ---- directories and symlinks ------------------------------------------------------------------- */

/*
 * A directory that was removed elsewhere while something was in it here comes back, with all above it, as
 * soon as something that travels is put into it.
 */
int publish_revive(struct vfs *v, struct txn *t, struct inode *dir)
{
	struct inode *chain[DIRS_DEEP_MAX];
	size_t n = 0;
	int r = 0;

	while (dir && !dir->bound && !dir->local && n < DIRS_DEEP_MAX) {
		if (dir->unpublished) { /* held back: so is what is in it, and this is not quiet */
			publish_mark(v, t, dir, HOLD_MS);
			return 0;
		}
		chain[n++] = dir;
		dir = ns_get(v, t, dir->parent);
	}
	while (r == 0 && dir && n > 0) {
		struct inode *next = chain[--n];

		r = publish_new_dir(v, t, dir, next);
		if (!next->bound)
			break;
		dir = next;
	}
	return r;
}

int publish_made_dir(struct vfs *v, struct txn *t, struct inode *parent, struct inode *dir)
{
	if (!publish_wants(parent, dir->name) || !localname_is_temporary(dir->name))
		return publish_new_dir(v, t, parent, dir);
	publish_mark(v, t, dir, HOLD_MS);
	return 0;
}

int publish_new_dir(struct vfs *v, struct txn *t, struct inode *parent, struct inode *dir)
{
	struct id node;

	if (dir->local || !publish_wants(parent, dir->name))
		return 0;
	graves_bury_now(v, t, parent->ino, dir->name);
	/* A directory of that name may be here, shown under another until the record's grace is over. */
	const struct making m = {parent, dir->name, NODE_DIR};
	if (fresh_node(v, t, &m, &node))
		return -EEXIST;
	int r = db_put_node(t, &node, NODE_DIR, &parent->node, dir->name);
	if (r < 0)
		return r;
	ns_bind(v, t, dir, &node);
	return publish_arrived(v, t, dir);
}

/*
 * A link is followed by the kernel of whoever reads it: it must not lead out of the mount. One that does is
 * shown all the same, for all devices show the same names, but not read.
 */
bool publish_safe_target(struct vfs *v, struct txn *t, const struct inode *parent,
			 struct slice target)
{
	int depth = 0;
	bool named = false;
	size_t at = 0;

	for (const struct inode *p = parent; p && p->ino != VFS_ROOT_INO;
	     p = ns_get(v, t, p->parent))
		depth++;
	if (target.len == 0 || target.data[0] == '/' || memchr(target.data, 0, target.len))
		return false;
	while (at < target.len) {
		size_t end = at;

		while (end < target.len && target.data[end] != '/')
			end++;
		struct slice part = SLICE(target.data + at, end - at);
		bool up = slice_eq(part, SLICE_STR(".."));
		/* `name/..` is not where it looks when the name is a link itself. */
		if (up && (named || --depth < 0))
			return false;
		named = named || (!up && part.len && !slice_eq(part, SLICE_STR(".")));
		at = end + 1;
	}
	return true;
}

/* One of its names; most have no other. */
static int publish_symlink_name(struct vfs *v, struct txn *t, struct inode *i, size_t k)
{
	const struct link name = links_at(i, k);
	struct inode *parent = ns_get(v, t, name.parent);
	struct id node;

	if (!parent || parent->local || name.bound || localname_is_local(name.name) ||
	    !publish_safe_target(v, t, parent, buf_slice(&i->data)))
		return 0;
	int r = publish_revive(v, t, parent);
	if (r < 0 || !publish_wants(parent, name.name))
		return r;
	graves_bury_now(v, t, parent->ino, name.name);
	const struct making m = {parent, name.name, NODE_SYMLINK};
	(void)fresh_node(v, t, &m, &node);
	program_publishes(v, t, i);
	r = db_put_node(t, &node, NODE_SYMLINK, &parent->node, name.name);
	if (r == 0)
		r = db_put_content(t, &node, NULL, buf_slice(&i->data));
	if (r >= 0)
		links_bind(v, t, i, k, &node);
	if (r >= 0 && i->link_count == 0)
		r = publish_arrived(v, t, i);
	return r < 0 ? r : 0;
}

int publish_symlink(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	int r = bytes_load(v, t, i);

	publish_unmark(v, t, i);
	for (size_t k = 0; r == 0 && k <= i->link_count; k++)
		r = publish_symlink_name(v, t, i, k);
	if (r < 0 || !i->bound || !i->own_bytes)
		return r;
	store_delete(db_store(t), ns_key(&key, 'b', i->ino));
	i->own_bytes = false;
	ns_put(v, t, i);
	return 0;
}

/* ---- renames ------------------------------------------------------------------------------------ */

/* The file takes over the record that its new name shows. */
static int replace_record(struct vfs *v, struct txn *t, struct inode *i, const struct id *over,
			  const struct vfs_caller *c)
{
	int r = bytes_load(v, t, i);

	if (r < 0)
		return r;
	take_over(v, i, over, c->pid);
	i->was = (struct id){{0}};
	i->base_empty = false;
	ns_bind(v, t, i, over);
	i->dirty = true;
	return publish_file(v, t, i, true);
}

/* Stops being the record it was: keeps its bytes, and remembers in case it is only being shuffled. */
static int detach(struct vfs *v, struct txn *t, struct inode *i, uint64_t old_parent,
		  const char *old_name)
{
	int r = bytes_own(v, t, i);

	if (r < 0)
		return r;
	i->origin = i->node;
	publish_leaves(i);
	ns_unbind(v, t, i);
	i->origin_parent = old_parent;
	free(i->origin_name);
	i->origin_name = xstrdup(old_name);
	return 0;
}

static int renamed_record(struct vfs *v, struct txn *t, struct inode *i, struct inode *parent,
			  struct inode *old_parent, const char *old_name)
{
	bool wanted = publish_wants(parent, i->name);
	enum node_kind kind = NODE_NONE;
	struct id buried;
	bool g = graves_find(v, t, parent->ino, i->name, &buried, &kind) == 0;
	bool variant = parent == old_parent && localname_is_variant(i->name, old_name);

	if (wanted && !g && !localname_is_temporary(i->name) && !variant &&
	    db_same_stream(t, &i->node, &parent->node))
		return db_put_node(t, &i->node, S_ISLNK(i->mode) ? NODE_SYMLINK : NODE_RECORD,
				   &parent->node, i->name);
	int r = graves_dig(v, t, old_parent->ino, old_name, i);
	if (r == 0)
		r = detach(v, t, i, old_parent->ino, old_name);
	i->local = !wanted;
	if (r < 0 || !wanted)
		return r;
	if (S_ISLNK(i->mode))
		return publish_symlink(v, t, i);
	if (!g && (variant || localname_is_temporary(i->name))) {
		publish_mark(v, t, i, HOLD_MS);
		return 0;
	}
	i->dirty = true;
	return publish_file(v, t, i, true);
}

static int renamed_directory(struct vfs *v, struct txn *t, struct inode *dir, struct inode *parent,
			     const struct rename_from *from)
{
	bool wanted = publish_wants(parent, dir->name);
	bool was_record = dir->bound;

	if (wanted)
		graves_bury_now(v, t, parent->ino, dir->name);
	int r = wanted ? swap_in(v, t, dir, parent, from->caller->pid) : 0;
	if (r != 0)
		return r < 0 ? r : 0;
	if (was_record)
		swap_left(v, from->parent, from->name, dir);
	if (dir->bound && wanted && db_same_stream(t, &dir->node, &parent->node))
		return db_put_node(t, &dir->node, NODE_DIR, &parent->node, dir->name);
	if (dir->bound)
		r = publish_withdraw(v, t, dir);
	dir->local = parent->local || localname_is_local(dir->name);
	ns_put(v, t, dir);
	if (r == 0 && wanted && dir->unpublished && localname_is_temporary(dir->name))
		publish_mark(v, t, dir, HOLD_MS);
	else if (r == 0 && wanted)
		r = publish_subtree(v, t, dir);
	return r;
}

int publish_renamed(struct vfs *v, struct txn *t, struct inode *i, const struct rename_from *from)
{
	struct inode *parent = ns_get(v, t, i->parent);

	if (!parent)
		return -EIO;
	if (S_ISDIR(i->mode))
		return renamed_directory(v, t, i, parent, from);
	bool wanted = publish_wants(parent, i->name);
	if (from->over && wanted && S_ISREG(i->mode)) {
		if (i->bound) {
			int r = graves_dig(v, t, from->parent->ino, from->name, i);

			r = r == 0 ? bytes_load(v, t, i) : r;
			if (r < 0)
				return r;
		}
		i->local = false;
		return replace_record(v, t, i, from->over, from->caller);
	}
	if (i->bound)
		return renamed_record(v, t, i, parent, from->parent, from->name);
	i->local = parent->local || localname_is_local(i->name);
	ns_put(v, t, i);
	if ((!wanted && i->link_count == 0) || !(S_ISREG(i->mode) || S_ISLNK(i->mode))) {
		publish_unmark(v, t, i);
		return 0;
	}
	if (S_ISLNK(i->mode))
		return publish_symlink(v, t, i);
	return publish_file(v, t, i, i->opens == 0 && !localname_is_temporary(i->name));
}

/* ---- after a restart ----------------------------------------------------------------------------- */

void publish_recheck(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	bool marked = store_get(db_store(t), ns_key(&key, 'h', i->ino), &value) == 0;

	if (marked && !i->unpublished)
		publish_mark(v, t, i, RETRY_MS);
	else if (!marked && i->unpublished)
		publish_unmark(v, t, i);
}

struct held {
	uint64_t *inos;
	size_t count;
};

static bool load_held(void *ctx, struct slice key, struct slice value)
{
	struct held *h = ctx;
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_take(&k, 2);
	h->inos = xreallocarray(h->inos, h->count + 1, sizeof(*h->inos));
	h->inos[h->count++] = reader_be64(&k);
	return true;
}

int publish_load(struct vfs *v, struct txn *t)
{
	struct held h = {0};
	int r = graves_load(v, t);

	if (r == 0)
		r = store_scan(db_store(t), SLICE_STR("Lh"), SLICE("", 0), load_held, &h);
	for (size_t k = 0; r == 0 && k < h.count; k++) {
		struct inode *i = ns_get(v, t, h.inos[k]);

		if (i)
			publish_mark(v, t, i, 0);
	}
	free(h.inos);
	return r;
}
