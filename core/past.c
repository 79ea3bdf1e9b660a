/* The tree as of a time. See past.h. */
#include "core/past.h"

#include "core/db_chunks.h"
#include "core/db_i.h"
#include "core/history.h"
#include "core/idset.h"
#include "core/moves.h"
#include "core/name.h"

#include <stdlib.h>
#include <string.h>

/** Nodes looked at under one lock. */
#define NODES_AT_ONCE 256
#define LISTINGS_MAX 32
/** How long a listing is used although there was a commit since, so that a busy database can be walked. */
#define KEEP_MS 1000
#define DEPTH_MAX 4096

/** A child before it has its shown name. */
struct child {
	struct past_node n;
	struct buf name;
	struct opid place;
};

struct listing {
	struct id dir;
	uint64_t generation;
	uint64_t made_ms;
	uint64_t used;
	struct past_node *nodes; /**< by name */
	size_t count;
	int result;
};

struct past {
	struct db *db;
	uint64_t ms;
	struct listing listings[LISTINGS_MAX];
	uint64_t clock;
	/* Where directories were that have been in several. Made anew with each listing. */
	struct idset roamed;
	struct moves_place *places; /**< by index of roamed */
};

/* ---- one node -------------------------------------------------------------------------------- */

/** What a node was; a directory's liveness and place may still have to be asked for. */
struct was {
	enum node_kind kind;
	bool known; /**< it had been created */
	bool tokens;
	bool same;
	bool roamed;
	struct id parent;
	struct opid place;
	struct buf name;
	bool exec;
	uint64_t size;
	uint64_t modified_ms;
	uint64_t author;
};

static void was_fini(struct was *w)
{
	buf_fini(&w->name);
}

struct ends {
	uint64_t first_hlc;
	bool any;
};

static bool take_first(void *ctx, struct slice key, struct slice value)
{
	struct ends *e = ctx;
	struct reader r = reader_init(key);

	(void)value;
	(void)reader_take(&r, 17);
	e->first_hlc = reader_be64(&r);
	e->any = !r.bad;
	return false;
}

/** How a node's changes lie to a time. */
enum lies {
	LIES_BEFORE, /**< all of them */
	LIES_AFTER,
	LIES_AROUND
};

static enum lies lies(const struct past *p, struct txn *t, const struct id *node)
{
	AUTO(buf_fini) struct buf prefix = {0};
	AUTO(buf_fini) struct buf from = {0};
	struct ends e = {0};

	if (p->ms >= UINT64_MAX >> 16)
		return LIES_BEFORE;
	(void)key_node(&prefix, 'h', node);
	(void)key_node(&from, 'h', node);
	buf_be64(&from, (p->ms + 1) << 16);
	(void)store_scan(t->store, buf_slice(&prefix), buf_slice(&from), take_first, &e);
	if (!e.any)
		return LIES_BEFORE;
	(void)store_scan(t->store, buf_slice(&prefix), SLICE("", 0), take_first, &e);
	return e.first_hlc >> 16 > p->ms ? LIES_AFTER : LIES_AROUND;
}

static void take_current(const struct txn_node *tn, struct was *ret)
{
	const struct node *n = &tn->n;
	struct stamp modified = n->content.hlc ? n->content : n->last;

	*ret = (struct was){
		.kind = n->kind,
		.known = n->place.lamport != 0,
		.tokens = n->token_count > 0,
		.same = true,
		.roamed = n->roamed,
		.parent = n->parent,
		.place = n->place,
		.exec = n->exec,
		.size = n->size,
		.modified_ms = modified.hlc >> 16,
		.author = n->last.id.actor,
	};
	buf_slice_append(&ret->name, buf_slice(&n->name));
}

static int take_replayed(const struct past *p, const struct id *node, struct was *ret)
{
	AUTO(history_state_fini) struct history_state s = {0};
	struct history *h = NULL;
	int r = history_open(p->db, node, &h);

	if (r == 0)
		r = history_when(h, p->ms, 0, &s);
	history_close(h);
	if (r < 0)
		return r;
	ret->same = false;
	ret->known = s.known;
	ret->tokens = s.alive;
	ret->parent = s.parent;
	ret->place = s.place;
	ret->exec = s.exec;
	ret->size = UINT64_MAX;
	ret->modified_ms = s.modified_ms;
	ret->author = s.author;
	buf_clear(&ret->name);
	buf_slice_append(&ret->name, buf_slice(&s.name));
	return 0;
}

/* 1 = it has to be replayed, *ret so far is what it is today; 0 = done. */
static int look(const struct past *p, struct txn *t, const struct id *node, struct was *ret)
{
	const struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	enum lies l = tn->n.kind == NODE_NONE ? LIES_AFTER : lies(p, t, node);
	if (l == LIES_AFTER) {
		*ret = (struct was){0};
		return 0;
	}
	take_current(tn, ret);
	return l == LIES_AROUND;
}

static int was_of(const struct past *p, const struct id *node, struct was *ret)
{
	struct txn *t = db_begin(p->db);
	int r = look(p, t, node, ret);

	db_abort(t);
	return r > 0 ? take_replayed(p, node, ret) : r;
}

/* ---- directories that have been in several ------------------------------------------------------ */

struct gathering {
	struct moves *moves;
	struct id node;
	struct idset *closure;
};

static void gather_move(void *ctx, const struct op *op, uint64_t actor)
{
	struct gathering *g = ctx;

	moves_add(g->moves, (struct opid){op->lamport, actor}, &g->node, &op->parent);
	(void)idset_add(g->closure, &op->parent);
}

static void take_place(void *ctx, const struct moves_place *place)
{
	struct past *p = ctx;
	size_t i = idset_add(&p->roamed, &place->node);

	p->places = xreallocarray(p->places, p->roamed.count, sizeof(*p->places));
	p->places[i] = *place;
}

/* Works out where the directory was, and all that it ever was in: nothing else has a say in it. */
static int settle_roamed(struct past *p, const struct id *dir)
{
	struct idset closure = {0};
	struct gathering g = {.moves = moves_create(p->db->salt), .closure = &closure};
	struct id root = db_root(p->db);
	int r = 0;

	(void)idset_add(&closure, dir);
	for (size_t i = 0; r == 0 && i < closure.count; i++) {
		struct history *h = NULL;

		g.node = closure.items[i];
		if (id_eq(&g.node, &root))
			continue;
		r = history_open(p->db, &g.node, &h);
		if (r == 0)
			r = history_moves(h, p->ms, gather_move, &g);
		history_close(h);
		r = r == -ENOENT ? 0 : r;
	}
	if (r == 0)
		moves_settle(g.moves, take_place, p);
	moves_destroy(g.moves);
	idset_fini(&closure);
	return r;
}

struct naming {
	struct opid move;
	struct buf *name;
};

static void take_name(void *ctx, const struct op *op, uint64_t actor)
{
	struct naming *n = ctx;

	if (!opid_eq(n->move, (struct opid){op->lamport, actor}))
		return;
	buf_clear(n->name);
	buf_slice_append(n->name, op->name);
}

/* Corrects place and name of a directory that has been in several. */
static int place_roamed(struct past *p, const struct id *dir, struct was *w)
{
	if (idset_find(&p->roamed, dir) == SIZE_MAX) {
		int r = settle_roamed(p, dir);

		if (r < 0)
			return r;
	}
	size_t i = idset_find(&p->roamed, dir);
	if (i == SIZE_MAX || p->places[i].place.lamport == 0) {
		w->known = false;
		return 0;
	}
	w->parent = p->places[i].parent;
	if (opid_eq(w->place, p->places[i].place))
		return 0;
	struct history *h = NULL;
	struct naming n = {.move = p->places[i].place, .name = &w->name};
	int r = history_open(p->db, dir, &h);
	if (r == 0)
		r = history_moves(h, p->ms, take_name, &n);
	history_close(h);
	w->place = n.move;
	return r;
}

/* ---- listings -------------------------------------------------------------------------------- */

static int ever_in(const struct past *p, const struct id *dir, struct idset *ret)
{
	struct txn *t = db_begin(p->db);
	int r = history_ever_in(t, dir, ret);

	db_abort(t);
	return r;
}

/* Whether node was in dir: 1, 0 or an error; *w says what it was. depth: of deleted directories. */
static int was_in(struct past *p, const struct id *node, const struct id *dir, struct was *w,
		  unsigned depth);

/* Whether anything lived in a directory that had itself been deleted. */
static int had_children(struct past *p, const struct id *dir, unsigned depth)
{
	struct idset ids = {0};
	int r = depth < DEPTH_MAX ? ever_in(p, dir, &ids) : -ELOOP;

	for (size_t i = 0; r == 0 && i < ids.count; i++) {
		AUTO(was_fini) struct was w = {0};

		r = was_of(p, &ids.items[i], &w);
		if (r == 0)
			r = was_in(p, &ids.items[i], dir, &w, depth + 1);
	}
	idset_fini(&ids);
	return r;
}

static int was_in(struct past *p, const struct id *node, const struct id *dir, struct was *w,
		  unsigned depth)
{
	int r = 0;

	if (!w->known)
		return 0;
	if (w->kind == NODE_DIR && w->roamed)
		r = place_roamed(p, node, w);
	if (r < 0 || !w->known || !id_eq(&w->parent, dir))
		return r;
	if (w->tokens || w->kind != NODE_DIR)
		return w->tokens;
	return had_children(p, node, depth);
}

static int by_place(const void *a, const void *b)
{
	const struct child *x = a;
	const struct child *y = b;
	int c = slice_cmp(buf_slice(&x->name), buf_slice(&y->name));

	c = c ? c : opid_cmp(x->place, y->place);
	return c ? c : id_cmp(&x->n.id, &y->n.id);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct past_node *)a)->name, ((const struct past_node *)b)->name);
}

/* As in project_group(), core/tree.c: who came first keeps the plain name. */
static void name_children(struct child *list, size_t count, struct listing *l)
{
	if (count > 1)
		qsort(list, count, sizeof(*list), by_place);
	l->nodes = xcalloc(count, sizeof(*l->nodes));
	l->count = count;
	for (size_t i = 0; i < count; i++) {
		char suffix[TREE_SUFFIX_BYTES] = "";
		struct slice name = buf_slice(&list[i].name);
		bool second = i > 0 && slice_eq(name, buf_slice(&list[i - 1].name));

		if (second || !name_is_plain(name))
			tree_suffix(&list[i].n.id, suffix);
		l->nodes[i] = list[i].n;
		l->nodes[i].name = name_show(name, suffix);
	}
	for (size_t i = 0; i < count; i++)
		buf_fini(&list[i].name);
	if (count > 1)
		qsort(l->nodes, count, sizeof(*l->nodes), by_name);
}

static struct child make_child(const struct id *id, struct was *w)
{
	struct child c = {
		.n = {.id = *id,
		      .kind = w->kind,
		      .exec = w->exec,
		      .same = w->same,
		      .modified_ms = w->modified_ms,
		      .author = w->author,
		      .size = w->kind == NODE_DIR ? 0 : w->size},
		.name = w->name,
		.place = w->place,
	};

	w->name = (struct buf){0};
	return c;
}

static int make_listing(struct past *p, const struct id *dir, struct listing *l)
{
	struct idset ids = {0};
	int r = ever_in(p, dir, &ids);
	struct child *list = xcalloc(ids.count, sizeof(*list));
	size_t count = 0;

	for (size_t i = 0; r == 0 && i < ids.count;) {
		struct was some[NODES_AT_ONCE] = {0};
		int todo[NODES_AT_ONCE] = {0};
		size_t n = ids.count - i < NODES_AT_ONCE ? ids.count - i : NODES_AT_ONCE;
		struct txn *t = db_begin(p->db);

		for (size_t k = 0; r >= 0 && k < n; k++)
			r = todo[k] = look(p, t, &ids.items[i + k], &some[k]);
		r = r > 0 ? 0 : r;
		db_abort(t);
		for (size_t k = 0; k < n; k++) {
			if (r == 0 && todo[k])
				r = take_replayed(p, &ids.items[i + k], &some[k]);
			int in = r == 0 ? was_in(p, &ids.items[i + k], dir, &some[k], 0) : r;
			if (in > 0)
				list[count++] = make_child(&ids.items[i + k], &some[k]);
			r = in < 0 ? in : r;
			was_fini(&some[k]);
		}
		i += n;
	}
	idset_fini(&ids);
	name_children(list, count, l);
	free(list);
	return r;
}

static void listing_fini(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->nodes[i].name);
	free(l->nodes);
	*l = (struct listing){0};
}

/* Room for one more listing: the ones used longest ago go. */
static struct listing *make_room(struct past *p)
{
	for (;;) {
		struct listing *oldest = NULL;
		struct listing *unused = NULL;
		size_t entries = 0;

		for (size_t i = 0; i < LISTINGS_MAX; i++) {
			struct listing *l = &p->listings[i];

			entries += l->count;
			if (!l->used)
				unused = l;
			else if (!oldest || l->used < oldest->used)
				oldest = l;
		}
		if (unused && (entries <= PAST_ENTRIES_MAX || !oldest))
			return unused;
		listing_fini(oldest);
	}
}

static bool is_fresh(const struct listing *l, uint64_t generation, uint64_t now)
{
	return l->generation == generation || now - l->made_ms <= KEEP_MS;
}

static int get_listing(struct past *p, const struct id *dir, struct listing **ret)
{
	uint64_t generation = db_generation(p->db);
	uint64_t now = monotonic_ms();

	for (size_t i = 0; i < LISTINGS_MAX; i++) {
		struct listing *l = &p->listings[i];

		if (!l->used || !id_eq(&l->dir, dir))
			continue;
		if (!is_fresh(l, generation, now)) {
			listing_fini(l);
			break;
		}
		l->used = ++p->clock;
		*ret = l;
		return l->result;
	}
	struct listing *l = make_room(p);
	idset_fini(&p->roamed);
	free(STEAL(p->places));
	*l = (struct listing){
		.dir = *dir, .generation = generation, .made_ms = now, .used = ++p->clock};
	l->result = make_listing(p, dir, l);
	int r = l->result;
	if (r < 0)
		listing_fini(l);
	*ret = l;
	return r;
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct past *past_create(struct db *db, uint64_t ms)
{
	struct past *p = xcalloc(1, sizeof(*p));

	p->db = db;
	p->ms = ms;
	return p;
}

void past_destroy(struct past *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < LISTINGS_MAX; i++)
		listing_fini(&p->listings[i]);
	idset_fini(&p->roamed);
	free(p->places);
	free(p);
}

struct db *past_db(const struct past *p)
{
	return p->db;
}

uint64_t past_time_ms(const struct past *p)
{
	return p->ms;
}

int past_children(struct past *p, const struct id *dir, const struct past_node **ret,
		  size_t *ret_count)
{
	struct listing *l = NULL;
	int r = get_listing(p, dir, &l);

	if (r < 0)
		return r;
	*ret = l->nodes;
	*ret_count = l->count;
	return 0;
}

int past_child(struct past *p, const struct id *dir, const char *name, const struct past_node **ret)
{
	struct listing *l = NULL;
	int r = get_listing(p, dir, &l);

	if (r < 0)
		return r;
	for (size_t lo = 0, hi = l->count; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(l->nodes[mid].name, name);

		if (c == 0) {
			*ret = &l->nodes[mid];
			return 0;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return -ENOENT;
}

int past_node(struct past *p, const struct id *node, struct past_node *ret)
{
	AUTO(was_fini) struct was w = {0};
	int r = was_of(p, node, &w);

	if (r < 0 || !w.known)
		return r < 0 ? r : -ENOENT;
	struct child c = make_child(node, &w);
	buf_fini(&c.name);
	*ret = c.n;
	return 0;
}

int past_resolve(struct past *p, const char *path, struct id *ret_id, const struct past_node **ret)
{
	struct id at = db_root(p->db);
	const struct past_node *n = NULL;

	while (*path) {
		size_t len = strcspn(path, "/");

		if (len > 0 && n && n->kind != NODE_DIR)
			return -ENOTDIR;
		if (len > 0) {
			AUTO(free_ptr) char *name = strndup(path, len);
			int r = name ? past_child(p, &at, name, &n) : -ENOMEM;

			if (r < 0)
				return r;
			at = n->id;
		}
		path += len + (path[len] == '/');
	}
	*ret_id = at;
	*ret = n;
	return 0;
}

int past_read(struct past *p, const struct id *node, struct buf *out, bool *ret_chunked)
{
	AUTO(history_state_fini) struct history_state s = {0};
	AUTO(buf_fini) struct buf now = {0};
	struct history *h = NULL;
	struct txn *t = db_begin(p->db);
	enum lies l = lies(p, t, node);
	int r = l == LIES_BEFORE ? db_shown(t, node, &now, ret_chunked) : 0;

	db_abort(t);
	if (l == LIES_BEFORE) {
		if (r == 0)
			buf_slice_append(out, buf_slice(&now));
		return r;
	}
	r = history_open(p->db, node, &h);
	if (r == 0)
		r = history_when(h, p->ms, HISTORY_CONTENT, &s);
	history_close(h);
	if (r == 0 && !s.known)
		r = -ENOENT;
	if (r < 0)
		return r;
	*ret_chunked = s.chunked;
	buf_slice_append(out, buf_slice(&s.content));
	return 0;
}

int past_size(struct past *p, const struct past_node *n, uint64_t *ret)
{
	AUTO(buf_fini) struct buf content = {0};
	bool chunked = false;

	*ret = n->size;
	if (n->size != UINT64_MAX)
		return 0;
	int r = past_read(p, &n->id, &content, &chunked);
	*ret = chunked ? manifest_size(buf_slice(&content)) : content.len;
	return r;
}
