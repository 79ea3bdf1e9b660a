/* What is kept of a removed device, read and adopted; see adopt.h. */
#include "core/adopt.h"

#include "core/db_i.h"
#include "core/json.h"
#include "core/log.h"
#include "core/manifest.h"

#include <inttypes.h>

#include <stdlib.h>
#include <string.h>

/** Of one feed: what ADOPT says of it. */
struct adopt_feed {
	struct id stream;
	uint64_t first;
	uint64_t last;
	struct buf adopted;
};

/* What a change did to a node. */
struct touch {
	struct id node;
	size_t order;
	const struct op *op;
	uint64_t ms;
	uint64_t change; /* which one */
};

/* A change that was read, with what it borrows from. */
struct read_change {
	struct change c;
	struct buf bytes;
};

struct look {
	struct txn *t;
	struct adopt_work *w;
	struct read_change *changes;
	size_t change_count;
	struct touch *touches;
	size_t touch_count;
	/* Nodes, sorted by id: touches from first on. */
	struct seen {
		struct id node;
		size_t first;
		size_t count;
		const struct op *move; /* the last */
	} * seen;
	size_t seen_count;
};

void adopt_work_fini(struct adopt_work *w)
{
	for (size_t i = 0; i < w->node_count; i++)
		free(w->nodes[i].path);
	for (size_t i = 0; i < w->feed_count; i++)
		buf_fini(&w->feeds[i].adopted);
	free(w->nodes);
	free(w->feeds);
	*w = (struct adopt_work){0};
}

static void look_fini(struct look *l)
{
	for (size_t i = 0; i < l->change_count; i++) {
		change_fini(&l->changes[i].c);
		buf_fini(&l->changes[i].bytes);
	}
	free(l->changes);
	free(l->touches);
	free(l->seen);
}

/* What was adopted, and waits for what it builds on, is nobody's to decide any more. */
static bool is_undecided(const struct db *db, const struct kept *k)
{
	const struct member *m = member_find(db, k->actor);

	return m && !member_adopted(m, &k->stream, k->last);
}

/* ---- reading ------------------------------------------------------------------------------------ */

static int add_change(struct look *l, struct slice bytes, uint64_t actor)
{
	l->changes = xreallocarray(l->changes, l->change_count + 1, sizeof(*l->changes));
	struct read_change *r = &l->changes[l->change_count];

	*r = (struct read_change){0};
	buf_slice_append(&r->bytes, bytes);
	int err = change_decode(buf_slice(&r->bytes), actor, &r->c);
	if (err < 0) {
		buf_fini(&r->bytes);
		return -EIO; /* it was read before it was kept */
	}
	l->change_count++;
	uint64_t ms = r->c.hlc >> 16;
	l->w->first_ms = l->w->change_count == 0 || ms < l->w->first_ms ? ms : l->w->first_ms;
	l->w->last_ms = ms > l->w->last_ms ? ms : l->w->last_ms;
	l->w->change_count++;
	return 0;
}

static int read_envelope(struct look *l, const struct envelope_place *at,
			 const struct kept_envelope *e)
{
	AUTO(buf_fini) struct buf body = {0};
	int r = envelope_open(at, NULL, e->envelope, &body);
	struct reader b = reader_init(buf_slice(&body));

	while (r == 0 && reader_left(&b)) {
		struct slice bytes = reader_bytes(&b, body.len);

		r = b.bad ? -EIO : add_change(l, bytes, at->actor);
	}
	return r == -EBADMSG || r == -ENOKEY ? -EIO : r;
}

static int read_feed(struct look *l, const struct kept *k)
{
	struct adopt_work *w = l->w;
	const struct feed *have = feed_find(l->t->db, &k->stream, k->actor);
	struct envelope_place at = epoch_place(l->t->db, &k->stream, k->actor);
	int r = 0;

	w->feeds = xreallocarray(w->feeds, w->feed_count + 1, sizeof(*w->feeds));
	struct adopt_feed *f = &w->feeds[w->feed_count++];
	*f = (struct adopt_feed){.stream = k->stream, .first = k->first, .last = k->last};
	w->byte_count += k->bytes;
	if (have)
		memcpy(at.prev, have->head, sizeof(at.prev));
	for (uint64_t first = k->first; r == 0 && first <= k->last;) {
		AUTO(buf_fini) struct buf value = {0};
		struct kept_envelope e;

		r = quarantine_read(l->t, k, first, &value, &e);
		if (r == 0)
			r = read_envelope(l, &at, &e);
		if (r < 0)
			break;
		auth_put_adopted(&f->adopted, e.last, e.hash);
		memcpy(at.prev, e.hash, sizeof(at.prev));
		first = e.last + 1;
	}
	return r;
}

/* ---- what it is about ------------------------------------------------------------------------------ */

static int touch_cmp(const void *a, const void *b)
{
	const struct touch *x = a;
	const struct touch *y = b;
	int c = id_cmp(&x->node, &y->node);

	return c ? c : (x->order > y->order) - (x->order < y->order);
}

static void gather(struct look *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->change_count; i++)
		n += l->changes[i].c.ops.count;
	l->touches = xcalloc(n + 1, sizeof(*l->touches));
	l->seen = xcalloc(n + 1, sizeof(*l->seen));
	for (size_t i = 0; i < l->change_count; i++) {
		const struct change *c = &l->changes[i].c;

		for (size_t k = 0; k < c->ops.count; k++) {
			l->touches[l->touch_count] = (struct touch){
				.node = c->ops.items[k].node,
				.order = l->touch_count,
				.op = &c->ops.items[k],
				.ms = c->hlc >> 16,
				.change = i,
			};
			l->touch_count++;
		}
	}
	qsort(l->touches, l->touch_count, sizeof(*l->touches), touch_cmp);
	for (size_t i = 0; i < l->touch_count; i++) {
		const struct touch *x = &l->touches[i];

		if (i == 0 || !id_eq(&x->node, &x[-1].node))
			l->seen[l->seen_count++] = (struct seen){.node = x->node, .first = i};
		struct seen *s = &l->seen[l->seen_count - 1];
		s->count++;
		if (x->op->kind == OP_MOVE)
			s->move = x->op;
	}
}

static int seen_cmp(const void *a, const void *b)
{
	return id_cmp(&((const struct seen *)a)->node, &((const struct seen *)b)->node);
}

static const struct seen *find_seen(const struct look *l, const struct id *node)
{
	const struct seen key = {.node = *node};

	return l->seen_count ? bsearch(&key, l->seen, l->seen_count, sizeof(key), seen_cmp) : NULL;
}

/* Where the node would be, by its last move and those of what is above it. */
static void path_of(struct look *l, const struct id *node, struct buf *out)
{
	AUTO(buf_fini) struct buf above = {0};
	struct id at = *node;

	buf_clear(out);
	for (unsigned depth = 0; depth < DB_DEPTH_MAX; depth++) {
		const struct seen *s = find_seen(l, &at);
		AUTO(buf_fini) struct buf tail = {0};

		if (!s || !s->move)
			break;
		buf_slice_append(&tail, s->move->name);
		if (out->len)
			buf_u8(&tail, '/');
		buf_slice_append(&tail, buf_slice(out));
		buf_clear(out);
		buf_slice_append(out, buf_slice(&tail));
		at = s->move->parent;
	}
	db_path_of(l->t, txn_node(l->t, &at), &above);
	if (above.len && out->len)
		buf_u8(&above, '/');
	buf_slice_append(&above, buf_slice(out));
	buf_clear(out);
	buf_slice_append(out, buf_slice(&above));
}

/* Of the many changes of a node, what they come to. */
static void sum_up(struct look *l, const struct seen *s, struct adopt_node *n)
{
	AUTO(buf_fini) struct buf path = {0};
	const struct touch *x = &l->touches[s->first];
	const struct txn_node *tn = txn_node(l->t, &s->node);

	n->first_ms = x->ms;
	for (size_t i = 0; i < s->count; i++, x++) {
		bool chunks = x->op->kind == OP_CHUNKS;

		n->change_count += i == 0 || x->change != x[-1].change;
		n->first_ms = x->ms < n->first_ms ? x->ms : n->first_ms;
		n->last_ms = x->ms > n->last_ms ? x->ms : n->last_ms;
		n->byte_count += chunks ? manifest_size(x->op->value) : x->op->value.len;
		n->large = n->large || chunks;
		if (x->op->kind == OP_DELETE || x->op->kind == OP_TOUCH)
			n->deleted = x->op->kind == OP_DELETE;
	}
	n->created = !tn || !tn->known;
	n->is_dir = s->move ? s->move->node_kind == NODE_DIR : tn && tn->n.kind == NODE_DIR;
	n->moved = s->move && !n->created;
	path_of(l, &s->node, &path);
	n->path = xstrdup(buf_str(&path));
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct adopt_node *)a)->path, ((const struct adopt_node *)b)->path);
}

static void describe(struct look *l)
{
	struct adopt_work *w = l->w;

	gather(l);
	w->nodes = xcalloc(l->seen_count + 1, sizeof(*w->nodes));
	for (size_t i = 0; i < l->seen_count; i++)
		sum_up(l, &l->seen[i], &w->nodes[w->node_count++]);
	if (w->node_count)
		qsort(w->nodes, w->node_count, sizeof(*w->nodes), by_path);
}

int adopt_look(struct db *db, uint64_t actor, struct adopt_work *ret)
{
	struct txn *t = db_begin(db);
	struct look l = {.t = t, .w = ret};
	const struct member *m = member_find(db, actor);
	int r = 0;

	*ret = (struct adopt_work){0};
	if (m)
		ret->device = m->device;
	for (size_t i = 0; r == 0 && i < db->kept_count; i++) {
		if (db->kept[i].actor == actor && is_undecided(db, &db->kept[i]))
			r = read_feed(&l, &db->kept[i]);
	}
	if (r == 0)
		describe(&l);
	look_fini(&l);
	db_abort(t);
	if (r < 0)
		adopt_work_fini(ret);
	return r;
}

size_t adopt_list(struct db *db, struct adoptable **ret)
{
	size_t n = 0;

	db_lock(db);
	struct adoptable *list = xcalloc(db->kept_count + 1, sizeof(*list));
	for (size_t i = 0; i < db->kept_count; i++) {
		const struct kept *k = &db->kept[i];
		const struct member *m = member_find(db, k->actor);
		size_t at = 0;

		while (at < n && list[at].device.actor != k->actor)
			at++;
		if (!is_undecided(db, k))
			continue;
		n += at == n;
		list[at].device = m->device;
		list[at].change_count += k->last - k->first + 1;
		list[at].byte_count += k->bytes;
	}
	mutex_unlock(&db->lock);
	*ret = list;
	return n;
}

size_t adopt_count(struct db *db)
{
	AUTO(free_ptr) struct adoptable *list = NULL;

	return adopt_list(db, &list);
}

void adopt_report(struct db *db, struct buf *out)
{
	AUTO(free_ptr) struct adoptable *list = NULL;
	size_t n = adopt_list(db, &list);

	for (size_t i = 0; i < n; i++) {
		AUTO(free_ptr)
		char *name = log_quote(list[i].device.name, strlen(list[i].device.name));

		buf_printf(out,
			   "  %s made %" PRIu64
			   " change%s that reached nobody before it was removed: "
			   "they count if you say so. Next:  blaze devices adopt %s\n",
			   name, list[i].change_count, list[i].change_count == 1 ? "" : "s", name);
	}
}

void adopt_report_json(struct db *db, struct buf *out)
{
	AUTO(free_ptr) struct adoptable *list = NULL;
	size_t n = adopt_list(db, &list);

	buf_printf(out, "\"adoptable\":[");
	for (size_t i = 0; i < n; i++) {
		buf_printf(out, "%s{\"device\":\"", i ? "," : "");
		buf_json_string(out, SLICE_STR(list[i].device.name));
		buf_printf(out, "\",\"changes\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
			   list[i].change_count, list[i].byte_count);
	}
	buf_printf(out, "],");
}

/* ---- deciding --------------------------------------------------------------------------------------- */

/* All that was looked at is still kept, under these hashes. */
static bool is_there(struct txn *t, uint64_t actor, const struct adopt_feed *f)
{
	const struct kept *k = quarantine_find(t->db, &f->stream, actor);
	struct slice list = buf_slice(&f->adopted);
	const uint8_t *hash = NULL;
	uint64_t first = f->first;
	uint64_t last = 0;
	bool same = k && k->first == f->first && k->last >= f->last;

	while (same && auth_next_adopted(&list, &last, &hash)) {
		AUTO(buf_fini) struct buf value = {0};
		struct kept_envelope e = {0};

		same = quarantine_read(t, k, first, &value, &e) == 0 && e.last == last &&
		       memcmp(e.hash, hash, DIGEST_BYTES) == 0;
		first = last + 1;
	}
	return same;
}

static int check(struct txn *t, const struct adopt_work *w, struct why *why)
{
	if (!member_may_manage(t->db))
		return why_set(why, -EPERM,
			       "this device may not decide that; do it on one that may manage");
	for (size_t i = 0; i < w->feed_count; i++) {
		if (!is_there(t, w->device.actor, &w->feeds[i]))
			return why_set(why, -ESTALE,
				       "what is kept of it has changed meanwhile; look again");
	}
	return 0;
}

/* Of what was adopted, what could not be applied yet. */
static uint64_t count_waiting(struct db *db, const struct adopt_work *w)
{
	uint64_t waiting = 0;

	db_lock(db);
	for (size_t i = 0; i < w->feed_count; i++) {
		const struct kept *k = quarantine_find(db, &w->feeds[i].stream, w->device.actor);

		if (k && k->first <= w->feeds[i].last)
			waiting += w->feeds[i].last - k->first + 1;
	}
	mutex_unlock(&db->lock);
	return waiting;
}

int adopt_accept(struct db *db, const struct adopt_work *w, uint64_t *ret_waiting, struct why *why)
{
	struct txn *t = db_begin(db);
	int r = check(t, w, why);

	if (r < 0) {
		db_abort(t);
		return r;
	}
	for (size_t i = 0; i < w->feed_count; i++) {
		const struct auth_op op = {
			.kind = AUTH_ADOPT,
			.device = w->device.actor,
			.stream = w->feeds[i].stream,
			.first = w->feeds[i].first,
			.adopted = buf_slice(&w->feeds[i].adopted),
		};
		member_do(t, &op);
	}
	r = db_commit(t);
	if (r == 0)
		r = quarantine_retry(db);
	*ret_waiting = count_waiting(db, w);
	return r < 0 ? why_set(why, r, "cannot write to the database: %s", strerror(-r)) : 0;
}

int adopt_refuse(struct db *db, uint64_t actor, struct why *why)
{
	struct txn *t = db_begin(db);
	int r = member_find(db, actor) ? quarantine_refuse(t, actor) : -ENOENT;

	if (r < 0) {
		db_abort(t);
		return why_set(why, r, "cannot read the database: %s", strerror(-r));
	}
	r = db_commit_changed(t);
	return r < 0 ? why_set(why, r, "cannot write to the database: %s", strerror(-r)) : 0;
}
