/* The list of values that lost: made from the database, named, and kept for a moment. */
#include "fs/special_conflicts.h"

#include "core/clash.h"
#include "core/digest.h"
#include "core/resolve.h"
#include "core/thread.h"
#include "fs/special.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIELDS "fields"
#define LINES "lines"
/** ".4294967295" */
#define ORDINAL_BYTES_MAX 11

struct entry {
	struct special_conflict shown;
	char *dir; /**< where it is, "" = at the top */
	struct id node;
	struct opid op;	 /**< none: the record's fields, or lines if op.actor is not 0 */
	struct buf text; /**< content, of fields and lines only */
};

struct list {
	struct entry *items; /**< sorted by directory and name */
	size_t count;
};

struct special_conflicts {
	struct db *db;
	uint8_t seed[16]; /**< numbers are hashes: nobody may choose them */
	struct mutex lock;
	struct list list;    /* protected by lock */
	bool made;	     /* protected by lock */
	uint64_t made_ms;    /* protected by lock */
	uint64_t generation; /* protected by lock; the database's, before the list was made */
};

/* ---- names ----------------------------------------------------------------------------------- */

static void put_escaped(struct buf *out, const char *text, const char *what)
{
	for (const char *p = text; *p; p++) {
		if (strchr(what, *p))
			buf_printf(out, "%%%02X", (unsigned)*p);
		else
			buf_u8(out, (uint8_t)*p);
	}
}

/** The record's name as part of a file name, in at most `room` bytes. */
static void put_name(struct buf *out, const char *name, const struct id *node, size_t room)
{
	size_t len = strlen(name);
	char hex[ID_HEX_BYTES];

	if (len <= room) {
		buf_append(out, name, len);
		return;
	}
	id_hex(node, hex);
	buf_printf(out, "%%~%s~", hex);
	assert(out->len < room);
	size_t from = len - (room - out->len);
	while (from < len && ((uint8_t)name[from] & 0xc0) == 0x80)
		from++; /* not within a character */
	buf_append(out, name + from, len - from);
}

/* ---- making the list ------------------------------------------------------------------------- */

/** One record while its losers come in. */
struct record {
	struct special_conflicts *c;
	struct list *list;
	const struct node_info *node;
	const char *path;
	size_t first; /**< entries from here on are this record's */
	struct buf fields;
	uint64_t fields_ms;
	struct buf lines;
	uint64_t lines_ms;
};

static uint64_t number_of(const struct special_conflicts *c, const struct entry *e)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	id_write(&key, &e->node);
	if (e->shown.is_dir)
		buf_printf(&key, "%s/%s", e->dir, e->shown.name);
	buf_be64(&key, e->op.lamport);
	buf_be64(&key, e->op.actor);
	struct slice parts[] = {SLICE(c->seed, sizeof(c->seed)), buf_slice(&key)};
	struct id hash = digest_id("blaze conflict", parts, countof(parts));
	struct reader r = reader_init(SLICE(hash.b, sizeof(hash.b)));

	return (reader_be64(&r) >> (64 - SPECIAL_CONFLICT_BITS)) | 1; /* 0 is the top */
}

static bool is_taken(const struct record *r, const char *name)
{
	for (size_t i = r->first; i < r->list->count; i++) {
		if (strcmp(r->list->items[i].shown.name, name) == 0)
			return true;
	}
	return false;
}

/** Names the entry after `who`, with an ordinal from `n` on; 1 is not shown. */
static void add(struct record *r, struct entry *e, const char *who, unsigned n)
{
	AUTO(buf_fini) struct buf tail = {0};
	AUTO(buf_fini) struct buf name = {0};

	put_escaped(&tail, who, "%/@");
	const char *slash = strrchr(r->path, '/');
	put_name(&name, slash ? slash + 1 : r->path, &r->node->id,
		 NAME_BYTES_MAX - 1 - ORDINAL_BYTES_MAX - tail.len);
	buf_u8(&name, '@');
	buf_slice_append(&name, buf_slice(&tail));
	size_t stem = name.len;
	if (n > 1)
		buf_printf(&name, ".%u", n);
	while (is_taken(r, buf_str(&name))) {
		name.len = stem;
		buf_printf(&name, ".%u", ++n);
	}
	assert(name.len <= NAME_BYTES_MAX);
	memcpy(e->shown.name, buf_str(&name), name.len + 1);
	e->node = r->node->id;
	e->dir = slash ? strndup(r->path, (size_t)(slash - r->path)) : xstrdup("");
	assert(e->dir);
	e->shown.number = number_of(r->c, e);
	r->list->items = xreallocarray(r->list->items, r->list->count + 1, sizeof(*e));
	r->list->items[r->list->count++] = *e;
}

/** In JSON, a line break can only stand between tokens, where a space means the same. */
static void put_line(struct buf *out, struct slice value)
{
	for (size_t i = 0; i < value.len; i++)
		buf_u8(out, value.data[i] < ' ' ? ' ' : value.data[i]);
}

static bool is_reserved(const char *device)
{
	return strcmp(device, FIELDS) == 0 || strcmp(device, LINES) == 0;
}

static void add_loser(void *ctx, const struct db_loser *l)
{
	struct record *r = ctx;

	if (l->whole) {
		struct entry e = {.op = l->id};

		e.shown.size = l->chunked ? manifest_size(l->value) : l->value.len;
		e.shown.time_ms = l->time_ms;
		/* A device of that name must not look like a list of fields. */
		add(r, &e, l->author_name, is_reserved(l->author_name) ? 2 : 1);
		return;
	}
	buf_printf(&r->fields, "%s  ", *l->path ? l->path : ".");
	put_line(&r->fields, l->value);
	buf_printf(&r->fields, "  %s  ", l->author_name);
	special_conflicts_put_time(l->time_ms, &r->fields);
	buf_u8(&r->fields, '\n');
	r->fields_ms = l->time_ms > r->fields_ms ? l->time_ms : r->fields_ms;
}

/** Who changed which lines, and under that what they had made of them. */
static void add_lines(void *ctx, const struct clash *c)
{
	struct record *r = ctx;
	struct slice rest = c->lines;

	buf_printf(&r->lines, "line %llu", (unsigned long long)c->line);
	if (c->line_count > 1)
		buf_printf(&r->lines, "-%llu", (unsigned long long)(c->line + c->line_count - 1));
	buf_printf(&r->lines, "  %s", c->author_name);
	if (c->time_ms) {
		buf_printf(&r->lines, "  ");
		special_conflicts_put_time(c->time_ms, &r->lines);
	}
	buf_printf(&r->lines, "%s\n", c->here ? "" : "  (its history is still being fetched)");
	while (rest.len) {
		const uint8_t *nl = memchr(rest.data, '\n', rest.len);
		size_t n = nl ? (size_t)(nl - rest.data) : rest.len;

		buf_printf(&r->lines, "    ");
		buf_append(&r->lines, rest.data, n);
		buf_u8(&r->lines, '\n');
		n += nl != NULL;
		rest = SLICE(rest.data + n, rest.len - n);
	}
	r->lines_ms = c->time_ms > r->lines_ms ? c->time_ms : r->lines_ms;
}

struct making {
	struct special_conflicts *c;
	struct list list;
};

static void add_record(void *ctx, const struct node_info *n, const char *path)
{
	struct making *m = ctx;
	struct record r = {
		.c = m->c, .list = &m->list, .node = n, .path = path, .first = m->list.count};

	if (n->conflicts == 0)
		return;
	/* A record that cannot be read now has nothing to show; the next list may have it. */
	(void)db_losers(m->c->db, &n->id, add_loser, &r);
	if (r.fields.len) {
		struct entry e = {.text = r.fields};

		e.shown.size = r.fields.len;
		e.shown.time_ms = r.fields_ms;
		add(&r, &e, FIELDS, 1);
	}
	(void)clash_list(m->c->db, &n->id, add_lines, &r);
	if (r.lines.len) {
		struct entry e = {.op.actor = 1, .text = r.lines};

		e.shown.size = r.lines.len;
		e.shown.time_ms = r.lines_ms;
		add(&r, &e, LINES, 1);
	}
}

static int entry_cmp(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;
	int c = strcmp(x->dir, y->dir);

	return c ? c : strcmp(x->shown.name, y->shown.name);
}

static struct entry *find_entry(const struct list *l, const char *dir, const char *name)
{
	struct entry key = {.dir = (char *)(uintptr_t)dir};
	size_t len = strlen(name);

	if (len > NAME_BYTES_MAX || l->count == 0)
		return NULL;
	memcpy(key.shown.name, name, len + 1);
	return bsearch(&key, l->items, l->count, sizeof(key), entry_cmp);
}

/* Adds (dir, name) to the directories, which are sorted, if it is not there. */
static void add_dir(const struct special_conflicts *c, struct list *dirs, const char *dir,
		    const char *name)
{
	struct entry e = {.shown.is_dir = true};
	size_t at = dirs->count;

	if (strlen(name) > NAME_BYTES_MAX || find_entry(dirs, dir, name))
		return;
	memcpy(e.shown.name, name, strlen(name) + 1);
	e.dir = xstrdup(dir);
	e.shown.number = number_of(c, &e);
	dirs->items = xreallocarray(dirs->items, dirs->count + 1, sizeof(e));
	while (at > 0 && entry_cmp(&e, &dirs->items[at - 1]) < 0)
		at--;
	memmove(&dirs->items[at + 1], &dirs->items[at], (dirs->count - at) * sizeof(e));
	dirs->items[at] = e;
	dirs->count++;
}

/* The directories that lead to the files, and no file under the name of one. */
static void add_dirs(const struct special_conflicts *c, struct list *l)
{
	struct list dirs = {0};

	for (size_t i = 0; i < l->count; i++) {
		AUTO(free_ptr) char *path = xstrdup(l->items[i].dir);

		while (*path) {
			char *slash = strrchr(path, '/');

			if (slash)
				*slash = 0;
			add_dir(c, &dirs, slash ? path : "", slash ? slash + 1 : path);
			if (!slash)
				break;
		}
	}
	for (size_t i = 0; i < l->count; i++) {
		struct special_conflict *s = &l->items[i].shown;

		while (find_entry(&dirs, l->items[i].dir, s->name) &&
		       strlen(s->name) + 2 <= NAME_BYTES_MAX)
			memcpy(s->name + strlen(s->name), ".2", 3);
	}
	l->items = xreallocarray(l->items, l->count + dirs.count, sizeof(*l->items));
	if (dirs.count)
		memcpy(l->items + l->count, dirs.items, dirs.count * sizeof(*l->items));
	l->count += dirs.count;
	free(dirs.items);
}

static void list_fini(struct list *l)
{
	for (size_t i = 0; i < l->count; i++)
		buf_fini(&l->items[i].text);
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].dir);
	free(l->items);
	*l = (struct list){0};
}

/** After this, the list is fresh enough. */
static void refresh(struct special_conflicts *c)
{
	uint64_t generation = db_generation(c->db);
	struct making m = {.c = c};

	mutex_lock(&c->lock);
	bool fresh = c->made && (c->generation == generation ||
				 monotonic_ms() - c->made_ms <= SPECIAL_KEEP_MS);
	mutex_unlock(&c->lock);
	if (fresh)
		return;

	/* Made without the lock: this takes the database's. */
	db_problems(c->db, add_record, &m);
	if (m.list.count)
		add_dirs(c, &m.list);
	if (m.list.count)
		qsort(m.list.items, m.list.count, sizeof(*m.list.items), entry_cmp);
	mutex_lock(&c->lock);
	struct list old = c->list;
	c->list = m.list;
	c->made = true;
	c->made_ms = monotonic_ms();
	c->generation = generation;
	mutex_unlock(&c->lock);
	list_fini(&old);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static const struct entry *by_number_locked(const struct special_conflicts *c, uint64_t number)
{
	for (size_t i = 0; i < c->list.count; i++) {
		if (c->list.items[i].shown.number == number)
			return &c->list.items[i];
	}
	return NULL;
}

/* The path of a directory; NULL if it is none any more. Borrowed within the lock. */
static char *path_locked(const struct special_conflicts *c, uint64_t dir)
{
	if (dir == SPECIAL_CONFLICTS_TOP)
		return xstrdup("");
	const struct entry *e = by_number_locked(c, dir);
	if (!e || !e->shown.is_dir)
		return NULL;
	return *e->dir ? xasprintf("%s/%s", e->dir, e->shown.name) : xstrdup(e->shown.name);
}

size_t special_conflicts_list(struct special_conflicts *c, uint64_t dir,
			      struct special_conflict **ret)
{
	size_t n = 0;

	refresh(c);
	mutex_lock(&c->lock);
	AUTO(free_ptr) char *path = path_locked(c, dir);
	*ret = xcalloc(c->list.count, sizeof(**ret));
	for (size_t i = 0; path && i < c->list.count; i++) {
		if (strcmp(c->list.items[i].dir, path) == 0)
			(*ret)[n++] = c->list.items[i].shown;
	}
	mutex_unlock(&c->lock);
	return n;
}

int special_conflicts_find(struct special_conflicts *c, uint64_t dir, const char *name,
			   struct special_conflict *ret)
{
	refresh(c);
	mutex_lock(&c->lock);
	AUTO(free_ptr) char *path = path_locked(c, dir);
	const struct entry *e = path ? find_entry(&c->list, path, name) : NULL;
	if (e)
		*ret = e->shown;
	mutex_unlock(&c->lock);
	return e ? 0 : -ENOENT;
}

int special_conflicts_get(struct special_conflicts *c, uint64_t number, struct special_conflict *ret)
{
	refresh(c);
	mutex_lock(&c->lock);
	const struct entry *e = by_number_locked(c, number);
	if (e)
		*ret = e->shown;
	mutex_unlock(&c->lock);
	return e ? 0 : -ENOENT;
}

struct wanted {
	struct db *db;
	struct opid op;
	struct buf *out;
	struct manifest *chunks;
	bool found;
};

static void take_value(void *ctx, const struct db_loser *l)
{
	struct wanted *w = ctx;

	if (!l->whole || !opid_eq(l->id, w->op))
		return;
	w->found = true;
	if (!l->chunked)
		buf_slice_append(w->out, l->value);
	else if (db_manifest_decode(w->db, l->value, &w->chunks) < 0)
		w->found = false;
}

int special_conflicts_read(struct special_conflicts *c, uint64_t number, struct buf *out,
			   struct manifest **ret_chunks)
{
	struct wanted w = {.db = c->db, .out = out};
	struct id node = {0};

	refresh(c);
	mutex_lock(&c->lock);
	const struct entry *e = by_number_locked(c, number);
	if (e) {
		buf_slice_append(out, buf_slice(&e->text));
		node = e->node;
		w.op = e->op;
		w.found = w.op.lamport == 0;
	}
	mutex_unlock(&c->lock);
	if (!e)
		return -ENOENT;
	int r = w.found ? 0 : db_losers(c->db, &node, take_value, &w);
	*ret_chunks = w.chunks;
	return r < 0 ? r : w.found ? 0 : -ENOENT;
}

/* What a name stands for; op is 0 for a record's fields. */
static int find_loser(struct special_conflicts *c, const struct special_conflict_place *at,
		      struct id *ret_node, struct opid *ret_op)
{
	struct special_conflict found;
	int r = special_conflicts_find(c, at->in, at->name, &found);

	if (r == 0 && found.is_dir)
		r = -EISDIR;
	if (r < 0)
		return r;
	mutex_lock(&c->lock);
	const struct entry *e = by_number_locked(c, found.number);
	if (e) {
		*ret_node = e->node;
		*ret_op = e->op;
	}
	mutex_unlock(&c->lock);
	return e ? 0 : -ENOENT;
}

/* The list is made anew when it is asked for next. */
static void forget_list(struct special_conflicts *c)
{
	mutex_lock(&c->lock);
	c->made = false;
	mutex_unlock(&c->lock);
}

int special_conflicts_drop(struct special_conflicts *c, uint64_t in, const char *name)
{
	const struct special_conflict_place at = {.in = in, .name = name};
	struct opid op;
	struct id node;
	int r = find_loser(c, &at, &node, &op);

	if (r == 0)
		r = op.lamport ? resolve_drop(c->db, &node, &(struct doc_which){op, SLICE("", 0)})
			       : resolve_keep(c->db, &node);
	forget_list(c);
	return r < 0 ? r : 0;
}

int special_conflicts_use(struct special_conflicts *c, const struct special_conflict_place *from,
			  const struct id *dir, const char *new_name)
{
	struct opid op;
	struct id node;
	struct id there = {0};
	int r = find_loser(c, from, &node, &op);

	if (r < 0)
		return r;
	struct txn *t = db_begin(c->db);
	r = db_child(t, dir, new_name, &there);
	db_abort(t);
	if (r < 0 || !op.lamport || !id_eq(&there, &node))
		return -EXDEV;
	r = resolve_use(c->db, &node, &(struct doc_which){op, SLICE("", 0)});
	forget_list(c);
	return r < 0 ? r : 0;
}

void special_conflicts_put_time(uint64_t ms, struct buf *out)
{
	char text[32];
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	/* A time is 48 bits of milliseconds at most: it has a year. */
	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf_printf(out, "%s", text);
}

/* ---- lifetime -------------------------------------------------------------------------------- */

struct special_conflicts *special_conflicts_create(struct db *db)
{
	struct special_conflicts *c = xcalloc(1, sizeof(*c));

	c->db = db;
	random_bytes(c->seed, sizeof(c->seed));
	mutex_init(&c->lock);
	return c;
}

void special_conflicts_destroy(struct special_conflicts *c)
{
	if (!c)
		return;
	list_fini(&c->list);
	mutex_fini(&c->lock);
	free(c);
}
