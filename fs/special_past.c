/* What was, as files: a table of things the kernel knows of, and how each is listed, sized and read. */
#include "fs/special_past.h"

#include "core/db_chunks.h"
#include "core/digest.h"
#include "core/history.h"
#include "core/past.h"
#include "core/restore.h"
#include "core/snapshot.h"
#include "core/thread.h"
#include "core/when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS_MIN 256
/** Trees kept, and how long a time that moves stands still. */
#define PASTS 4
#define PINS 16
#define PINNED_MS 5000
/** Contents kept for who asks for the size, opens and reads. */
#define CONTENTS 4
#define CONTENT_KEEP_MS 1000
#define CONTENT_KEPT_BYTES (16u << 20)

enum kind {
	AT,	 /**< at/ */
	AT_NODE, /**< of the tree at `ms`; the root has the database's root as node */
	DELETED, /**< a directory of deleted/, or something in it */
	HISTORY, /**< a directory of history/: of a directory, or of a file */
	VERSION	 /**< rev of node */
};

/** What a number stands for. */
struct thing {
	enum kind kind;
	struct id node;
	uint64_t ms;
	struct opid rev;
};

struct known {
	uint64_t number;
	uint64_t lookups;
	struct thing thing;
	struct known *next;
};

/** A tree in use. */
struct view {
	struct past *past;
	uint64_t used;
};

/** A time that moves, standing still. */
struct pin {
	char text[64];
	uint64_t ms;
	uint64_t used_ms;
};

struct content {
	uint64_t number;
	uint64_t made_ms; /**< 0 = none */
	bool chunked;
	struct buf bytes;
};

/* All protected by lock, which is taken before the database's. */
struct special_past {
	struct db *db;
	uint8_t seed[16]; /**< numbers are hashes: nobody may choose them */
	struct mutex lock;
	struct known **slots;
	size_t slot_count;
	size_t count;
	struct view views[PASTS];
	struct pin pins[PINS];
	struct content contents[CONTENTS];
	size_t next_content;
	uint64_t clock;
	struct history *history; /**< the one used last */
	struct id history_of;
	uint64_t history_generation;
};

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t number_of(const struct special_past *p, const struct thing *t)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	buf_u8(&key, (uint8_t)t->kind);
	id_write(&key, &t->node);
	buf_be64(&key, t->ms);
	buf_be64(&key, t->rev.lamport);
	buf_be64(&key, t->rev.actor);
	struct slice parts[] = {SLICE(p->seed, sizeof(p->seed)), buf_slice(&key)};
	struct id hash = digest_id("blaze past", parts, countof(parts));
	struct reader r = reader_init(SLICE(hash.b, sizeof(hash.b)));

	/* The first ones are the three directories themselves. */
	return (reader_be64(&r) >> (64 - SPECIAL_PAST_BITS)) | 16;
}

uint64_t special_past_number(enum special_past_top top)
{
	return (uint64_t)top + 1;
}

static int thing_of(struct special_past *p, uint64_t number, struct thing *ret)
{
	static const enum kind tops[] = {AT, DELETED, HISTORY};

	if (number >= 1 && number <= countof(tops)) {
		*ret = (struct thing){.kind = tops[number - 1], .node = db_root(p->db)};
		return 0;
	}
	for (struct known *k = p->slot_count ? p->slots[number & (p->slot_count - 1)] : NULL; k;
	     k = k->next) {
		if (k->number == number) {
			*ret = k->thing;
			return 0;
		}
	}
	return -ENOENT;
}

static void grow(struct special_past *p)
{
	size_t n = p->slot_count ? p->slot_count * 2 : SLOTS_MIN;
	struct known **slots = xcalloc(n, sizeof(struct known *));

	for (size_t i = 0; i < p->slot_count; i++) {
		while (p->slots[i]) {
			struct known *k = p->slots[i];

			p->slots[i] = k->next;
			k->next = slots[k->number & (n - 1)];
			slots[k->number & (n - 1)] = k;
		}
	}
	free(p->slots);
	p->slots = slots;
	p->slot_count = n;
}

static uint64_t remember(struct special_past *p, const struct thing *t)
{
	uint64_t number = number_of(p, t);
	struct known *k;

	if (p->count >= p->slot_count)
		grow(p);
	struct known **slot = &p->slots[number & (p->slot_count - 1)];
	for (k = *slot; k; k = k->next) {
		if (k->number == number)
			break;
	}
	if (!k) {
		k = xcalloc(1, sizeof(*k));
		k->number = number;
		k->thing = *t;
		k->next = *slot;
		*slot = k;
		p->count++;
	}
	k->lookups++;
	return number;
}

void special_past_forget(struct special_past *p, uint64_t number, uint64_t count)
{
	mutex_lock(&p->lock);
	struct known **at = p->slot_count ? &p->slots[number & (p->slot_count - 1)] : NULL;
	while (at && *at && (*at)->number != number)
		at = &(*at)->next;
	if (at && *at) {
		struct known *k = *at;

		k->lookups = k->lookups > count ? k->lookups - count : 0;
		if (k->lookups == 0) {
			*at = k->next;
			p->count--;
			free(k);
		}
	}
	mutex_unlock(&p->lock);
}

/* ---- what is kept ---------------------------------------------------------------------------- */

static struct past *past_at(struct special_past *p, uint64_t ms)
{
	struct view *oldest = &p->views[0];

	for (size_t i = 0; i < PASTS; i++) {
		struct view *v = &p->views[i];

		if (v->past && past_time_ms(v->past) == ms) {
			v->used = ++p->clock;
			return v->past;
		}
		if (v->used < oldest->used)
			oldest = v;
	}
	past_destroy(oldest->past);
	*oldest = (struct view){.past = past_create(p->db, ms), .used = ++p->clock};
	return oldest->past;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int parse_time(struct special_past *p, const char *text, uint64_t *ret)
{
	uint64_t now = monotonic_ms();
	struct pin *oldest = &p->pins[0];

	for (size_t i = 0; i < PINS; i++) {
		struct pin *pin = &p->pins[i];

		if (strcmp(pin->text, text) == 0 && now - pin->used_ms <= PINNED_MS) {
			pin->used_ms = now;
			*ret = pin->ms;
			return 0;
		}
		if (pin->used_ms < oldest->used_ms)
			oldest = pin;
	}
	if (when_parse(text, now_ms(), ret, NULL) < 0)
		return -ENOENT;
	if (when_is_relative(text) && strlen(text) < sizeof(oldest->text)) {
		(void)snprintf(oldest->text, sizeof(oldest->text), "%s", text);
		oldest->ms = *ret;
		oldest->used_ms = now;
	}
	return 0;
}

/* The history of a node; NULL and an error. Kept until another one is asked for. */
static int open_history(struct special_past *p, const struct id *node, struct history **ret)
{
	uint64_t generation = db_generation(p->db);

	if (!p->history || !id_eq(&p->history_of, node) || p->history_generation != generation) {
		history_close(STEAL(p->history));
		int r = history_open_whole(p->db, node, &p->history);
		if (r < 0)
			return r;
		p->history_of = *node;
		p->history_generation = generation;
	}
	*ret = p->history;
	return 0;
}

static size_t find_version(const struct history *h, struct opid rev)
{
	for (size_t i = 0; i < history_count(h); i++) {
		if (opid_eq(history_at(h, i)->rev, rev))
			return i;
	}
	return SIZE_MAX;
}

static int make_content(struct special_past *p, const struct thing *t, struct buf *ret,
			bool *ret_chunked)
{
	AUTO(history_state_fini) struct history_state s = {0};
	struct history *h = NULL;

	if (t->kind == AT_NODE)
		return past_read(past_at(p, t->ms), &t->node, ret, ret_chunked);
	if (t->kind == DELETED)
		return past_read(past_at(p, UINT64_MAX), &t->node, ret, ret_chunked);
	if (t->kind != VERSION)
		return -EISDIR;
	int r = open_history(p, &t->node, &h);
	size_t i = r == 0 ? find_version(h, t->rev) : SIZE_MAX;
	if (i == SIZE_MAX)
		return r < 0 ? r : -ENOENT;
	r = history_after(h, i, HISTORY_CONTENT, &s);
	*ret_chunked = s.chunked;
	buf_slice_append(ret, buf_slice(&s.content));
	return r;
}

/* Borrowed until the next call. */
static int get_content(struct special_past *p, const struct thing *t, const struct content **ret)
{
	uint64_t number = number_of(p, t);
	uint64_t now = monotonic_ms();

	for (size_t i = 0; i < CONTENTS; i++) {
		const struct content *c = &p->contents[i];

		if (c->made_ms && c->number == number && now - c->made_ms <= CONTENT_KEEP_MS) {
			*ret = c;
			return 0;
		}
	}
	struct content *c = &p->contents[p->next_content++ % CONTENTS];
	buf_fini(&c->bytes);
	*c = (struct content){.number = number};
	int r = make_content(p, t, &c->bytes, &c->chunked);
	if (r < 0)
		return r;
	/* What is large is not kept for the next call. */
	c->made_ms = c->bytes.len <= CONTENT_KEPT_BYTES ? now : 0;
	*ret = c;
	return 0;
}

/* ---- directories ------------------------------------------------------------------------------ */

struct entry {
	char *name;
	struct thing thing;
	mode_t type;
	struct past_node node; /**< of AT_NODE; without its name */
};

struct entries {
	struct entry *items;
	size_t count;
};

static void entries_fini(struct entries *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].name);
	free(l->items);
}

static struct entry *add_entry(struct entries *l, const char *name, const struct thing *t,
			       mode_t type)
{
	if ((l->count & (l->count - 1)) == 0)
		l->items = xreallocarray(l->items, l->count ? l->count * 2 : 1, sizeof(*l->items));
	l->items[l->count] = (struct entry){.name = xstrdup(name), .thing = *t, .type = type};
	return &l->items[l->count++];
}

static mode_t type_of(enum node_kind kind)
{
	return kind == NODE_DIR ? S_IFDIR : kind == NODE_SYMLINK ? S_IFLNK : S_IFREG;
}

static void list_times(struct special_past *p, struct entries *l)
{
	static const char *const times[] = {"1hour-ago", "today", "yesterday", "1week-ago"};

	for (size_t i = 0; i < countof(times); i++) {
		struct thing t = {.kind = AT_NODE, .node = db_root(p->db)};

		if (parse_time(p, times[i], &t.ms) == 0)
			(void)add_entry(l, times[i], &t, S_IFDIR);
	}
}

static int list_at(struct special_past *p, const struct thing *dir, struct entries *l)
{
	const struct past_node *nodes = NULL;
	size_t n = 0;
	int r = past_children(past_at(p, dir->ms), &dir->node, &nodes, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct thing t = {.kind = AT_NODE, .node = nodes[i].id, .ms = dir->ms};
		struct entry *e = add_entry(l, nodes[i].name, &t, type_of(nodes[i].kind));

		e->node = nodes[i];
		e->node.name = NULL;
	}
	return r;
}

static void add_deleted(void *ctx, const struct node_info *n)
{
	struct thing t = {.kind = DELETED, .node = n->id};

	(void)add_entry(ctx, n->name, &t, type_of(n->kind));
}

static void add_history(void *ctx, const struct node_info *n)
{
	struct thing t = {.kind = HISTORY, .node = n->id};

	(void)add_entry(ctx, n->name, &t, S_IFDIR);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* What lives, and what was deleted from names that nothing has now. */
static int list_history_dir(struct special_past *p, const struct thing *dir, struct entries *l)
{
	struct entries gone = {0};
	struct txn *t = db_begin(p->db);
	int r = db_children(t, &dir->node, add_history, l);

	db_abort(t);
	size_t live = l->count;
	if (live > 1)
		qsort(l->items, live, sizeof(*l->items), by_name);
	if (r == 0)
		r = history_deleted(p->db, &dir->node, false, add_history, &gone);
	for (size_t i = 0; i < gone.count; i++) {
		if (!live || !bsearch(&gone.items[i], l->items, live, sizeof(*l->items), by_name))
			(void)add_entry(l, gone.items[i].name, &gone.items[i].thing, S_IFDIR);
	}
	entries_fini(&gone);
	return r;
}

/* ".json" of "r.json"; "" if there is none worth repeating. */
static const char *extension(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot != name && strlen(dot) <= 16 ? dot : "";
}

static void put_version_name(struct special_past *p, const struct history *h, size_t i,
			     const char *name, struct buf *out)
{
	const struct history_change *c = history_at(h, i);
	time_t seconds = (time_t)(c->hlc >> 16) / 1000;
	struct device d = {.name = "unknown"};
	struct tm tm;
	char when[40];

	(void)db_member(p->db, c->rev.actor, &d);
	(void)gmtime_r(&seconds, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H-%M-%SZ", &tm);
	buf_printf(out, "%04zu-%s-", i + 1, when);
	for (const char *at = d.name; *at; at++)
		buf_u8(out, *at == '/' ? '_' : (uint8_t)*at);
	buf_printf(out, "%s", extension(name));
}

static char *name_of(struct special_past *p, const struct id *node)
{
	struct txn *t = db_begin(p->db);
	struct node_info n;
	char *name = db_node(t, node, &n) == 0 ? n.name : xstrdup("");

	db_abort(t);
	return name;
}

/* That a node ended where this one goes on from it is no version of its own. */
static bool is_left(struct history *h, size_t i, const struct id *node)
{
	const struct history_change *c = history_at(h, i);
	struct id of;

	(void)history_part(h, &i, &of);
	return c->deletes && !id_eq(&of, node);
}

static int list_versions(struct special_past *p, const struct thing *dir, struct entries *l)
{
	AUTO(free_ptr) char *name = name_of(p, &dir->node);
	struct history *h = NULL;
	int r = db_history_missing(p->db) ? -EAGAIN : open_history(p, &dir->node, &h);

	for (size_t i = 0; r == 0 && i < history_count(h); i++) {
		AUTO(buf_fini) struct buf shown = {0};
		struct thing t = {.kind = VERSION, .node = dir->node, .rev = history_at(h, i)->rev};

		if (is_left(h, i, &dir->node))
			continue;
		put_version_name(p, h, i, name, &shown);
		(void)add_entry(l, buf_str(&shown), &t, S_IFREG);
	}
	return r;
}

static enum node_kind kind_of(struct special_past *p, const struct id *node)
{
	struct id root = db_root(p->db);
	struct node_info n;
	enum node_kind kind = id_eq(node, &root) ? NODE_DIR : NODE_NONE;
	struct txn *t = db_begin(p->db);

	if (kind == NODE_NONE && db_node(t, node, &n) == 0) {
		kind = n.kind;
		node_info_fini(&n);
	}
	db_abort(t);
	return kind;
}

static int list(struct special_past *p, const struct thing *dir, struct entries *l)
{
	switch (dir->kind) {
	case AT:
		list_times(p, l);
		return 0;
	case AT_NODE:
		return list_at(p, dir, l);
	case DELETED:
		return history_deleted(p->db, &dir->node, true, add_deleted, l);
	case HISTORY:
		return kind_of(p, &dir->node) == NODE_DIR ? list_history_dir(p, dir, l)
							  : list_versions(p, dir, l);
	case VERSION:
		break;
	}
	return -ENOTDIR;
}

/* ---- one thing -------------------------------------------------------------------------------- */

static int info_of_content(struct special_past *p, const struct thing *t, mode_t type,
			   struct special_past_info *ret)
{
	const struct content *c = NULL;
	int r = get_content(p, t, &c);

	if (r < 0)
		return r;
	ret->mode = type | 0400;
	ret->size = c->chunked ? manifest_size(buf_slice(&c->bytes)) : c->bytes.len;
	return 0;
}

static int info_of_version(struct special_past *p, const struct thing *t,
			   struct special_past_info *ret)
{
	struct history *h = NULL;
	int r = open_history(p, &t->node, &h);
	size_t i = r == 0 ? find_version(h, t->rev) : SIZE_MAX;

	if (i == SIZE_MAX)
		return r < 0 ? r : -ENOENT;
	ret->time_ms = history_at(h, i)->hlc >> 16;
	return info_of_content(p, t, S_IFREG, ret);
}

static int info_of_deleted(struct special_past *p, const struct thing *t,
			   struct special_past_info *ret)
{
	struct node_info n;
	struct txn *txn = db_begin(p->db);
	int r = db_node(txn, &t->node, &n);

	db_abort(txn);
	if (r < 0)
		return r;
	ret->time_ms = n.modified_ms;
	ret->size = n.size;
	ret->mode = n.kind == NODE_DIR ? S_IFDIR | 0700 : type_of(n.kind) | (n.exec ? 0500 : 0400);
	node_info_fini(&n);
	return 0;
}

/* n: what the tree says of it, or NULL for the root of one. */
static int info_of_at(struct special_past *p, const struct thing *t, const struct past_node *n,
		      struct special_past_info *ret)
{
	int r = 0;

	ret->time_ms = n ? n->modified_ms : t->ms;
	if (!n || n->kind == NODE_DIR) {
		ret->mode = S_IFDIR | 0500;
	} else if (n->size != UINT64_MAX) {
		ret->mode = type_of(n->kind) | 0400;
		ret->size = n->size;
	} else {
		r = info_of_content(p, t, type_of(n->kind), ret);
	}
	if (n && n->kind == NODE_RECORD && n->exec)
		ret->mode |= 0100;
	return r;
}

static int info_of(struct special_past *p, const struct thing *t, struct special_past_info *ret)
{
	struct id root = db_root(p->db);
	struct past_node n;

	if (t->kind == VERSION)
		return info_of_version(p, t, ret);
	if (t->kind == DELETED && !id_eq(&t->node, &root))
		return info_of_deleted(p, t, ret);
	if (t->kind != AT_NODE || id_eq(&t->node, &root)) {
		/* What is in deleted/ can be moved out. */
		ret->mode = S_IFDIR | (t->kind == DELETED ? 0700 : 0500);
		ret->time_ms = t->kind == AT_NODE ? t->ms : now_ms();
		return 0;
	}
	int r = past_node(past_at(p, t->ms), &t->node, &n);
	if (r < 0)
		return r;
	return info_of_at(p, t, &n, ret);
}

int special_past_get(struct special_past *p, uint64_t number, struct special_past_info *ret)
{
	struct thing t;

	*ret = (struct special_past_info){.number = number};
	mutex_lock(&p->lock);
	int r = thing_of(p, number, &t);
	if (r == 0)
		r = info_of(p, &t, ret);
	mutex_unlock(&p->lock);
	return r;
}

void special_past_stat(const struct special_past_info *info, struct stat *ret)
{
	*ret = (struct stat){
		.st_mode = info->mode,
		.st_nlink = S_ISDIR(info->mode) ? 2 : 1,
		.st_size = (off_t)info->size,
		.st_blksize = 4096,
		.st_blocks = (off_t)((info->size + 511) / 512),
	};
	ret->st_mtim.tv_sec = (time_t)(info->time_ms / 1000);
	ret->st_mtim.tv_nsec = (long)(info->time_ms % 1000 * 1000000);
	ret->st_ctim = ret->st_atim = ret->st_mtim;
}

static bool find_live_dir(struct special_past *p, const struct thing *dir, const char *name,
			  struct thing *ret)
{
	struct txn *t = db_begin(p->db);
	struct node_info n;
	bool found =
		db_child(t, &dir->node, name, &ret->node) == 0 && db_node(t, &ret->node, &n) == 0;

	if (found) {
		found = n.kind == NODE_DIR;
		node_info_fini(&n);
	}
	db_abort(t);
	ret->kind = DELETED;
	return found;
}

/* The usual way, and the quick one into a tree. */
static int find(struct special_past *p, const struct thing *dir, const char *name,
		struct thing *ret, struct special_past_info *info)
{
	struct entries l = {0};

	if (dir->kind == AT) {
		*ret = (struct thing){.kind = AT_NODE, .node = db_root(p->db)};
		int r = parse_time(p, name, &ret->ms);
		if (r == 0 && db_history_missing(p->db))
			r = -EAGAIN;
		return r < 0 ? r : info_of(p, ret, info);
	}
	if (dir->kind == AT_NODE) {
		const struct past_node *n = NULL;
		int r = past_child(past_at(p, dir->ms), &dir->node, name, &n);

		if (r < 0)
			return r;
		*ret = (struct thing){.kind = AT_NODE, .node = n->id, .ms = dir->ms};
		struct past_node copy = *n;
		return info_of_at(p, ret, &copy, info);
	}
	int r = list(p, dir, &l);
	bool found = false;
	for (size_t i = 0; r == 0 && i < l.count && !found; i++) {
		found = strcmp(l.items[i].name, name) == 0;
		*ret = l.items[i].thing;
	}
	entries_fini(&l);
	/* A directory that was just brought back: who copies it is still at work in it. */
	if (r == 0 && !found && dir->kind == DELETED)
		found = find_live_dir(p, dir, name, ret);
	if (r < 0 || !found)
		return r < 0 ? r : -ENOENT;
	return info_of(p, ret, info);
}

int special_past_lookup(struct special_past *p, uint64_t dir, const char *name,
			struct special_past_info *ret)
{
	struct thing parent;
	struct thing t;

	*ret = (struct special_past_info){0};
	mutex_lock(&p->lock);
	int r = thing_of(p, dir, &parent);
	if (r == 0)
		r = find(p, &parent, name, &t, ret);
	if (r == 0)
		ret->number = remember(p, &t);
	mutex_unlock(&p->lock);
	return r;
}

int special_past_list(struct special_past *p, uint64_t dir,
		      void (*fn)(void *ctx, const char *name, uint64_t number, mode_t type),
		      void *ctx)
{
	AUTO(entries_fini) struct entries l = {0};
	struct thing t;

	mutex_lock(&p->lock);
	int r = thing_of(p, dir, &t);
	if (r == 0)
		r = list(p, &t, &l);
	mutex_unlock(&p->lock);
	for (size_t i = 0; r == 0 && i < l.count; i++)
		fn(ctx, l.items[i].name, number_of(p, &l.items[i].thing), l.items[i].type);
	return r;
}

int special_past_read(struct special_past *p, uint64_t number, struct buf *ret,
		      struct manifest **ret_manifest)
{
	const struct content *c = NULL;
	struct thing t;

	buf_clear(ret);
	mutex_lock(&p->lock);
	int r = thing_of(p, number, &t);
	if (r == 0)
		r = get_content(p, &t, &c);
	if (r == 0 && c->chunked)
		r = db_manifest_decode(p->db, buf_slice(&c->bytes), ret_manifest) < 0 ? -EIO : 0;
	else if (r == 0)
		buf_slice_append(ret, buf_slice(&c->bytes));
	mutex_unlock(&p->lock);
	return r;
}

int special_past_move_out(struct special_past *p, uint64_t dir, const char *name,
			  const struct id *new_dir, const char *new_name)
{
	struct special_past_info info;
	struct thing parent;
	struct thing t;

	mutex_lock(&p->lock);
	int r = thing_of(p, dir, &parent);
	if (r == 0 && parent.kind != DELETED)
		r = -EPERM;
	if (r == 0)
		r = find(p, &parent, name, &t, &info);
	mutex_unlock(&p->lock);
	return r < 0 ? r : restore_deleted(p->db, &t.node, new_dir, new_name);
}

/* ---- life ------------------------------------------------------------------------------------- */

struct special_past *special_past_create(struct db *db)
{
	struct special_past *p = xcalloc(1, sizeof(*p));

	p->db = db;
	random_bytes(p->seed, sizeof(p->seed));
	mutex_init(&p->lock);
	return p;
}

void special_past_destroy(struct special_past *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->slot_count; i++) {
		while (p->slots[i]) {
			struct known *k = p->slots[i];

			p->slots[i] = k->next;
			free(k);
		}
	}
	for (size_t i = 0; i < PASTS; i++)
		past_destroy(p->views[i].past);
	for (size_t i = 0; i < CONTENTS; i++)
		buf_fini(&p->contents[i].bytes);
	history_close(p->history);
	free(p->slots);
	mutex_fini(&p->lock);
	free(p);
}
