/* Transactions: nodes in use, drafts of changes, and the one batch they end in. */
#include "core/db_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slice key_node(struct buf *key, uint8_t prefix, const struct id *node)
{
	buf_clear(key);
	buf_u8(key, prefix);
	id_write(key, node);
	return buf_slice(key);
}

/* The lock is held. */
static void txn_init(struct txn *t, struct db *db)
{
	t->db = db;
	t->number = ++db->txn_count;
	t->store = store_begin(db->store);
	t->now_ms = db->env.now_ms(db->env.ctx);
	t->hlc = db_tick(db, t->now_ms);
	t->lamport = db->lamport;
	t->arrival = db->arrival;
	t->record_count = db->record_count;
	t->last = &t->first;
}

struct txn *db_begin(struct db *db)
{
	struct txn *t = xcalloc(1, sizeof(*t));

	db_lock(db);
	txn_init(t, db);
	return t;
}

struct txn *db_begin_command(struct db *db, const char *program)
{
	struct txn *t = db_begin(db);

	t->remote = true;
	db_set_program(t, program);
	return t;
}

void db_set_program(struct txn *t, const char *name)
{
	if (!t->program[0])
		(void)snprintf(t->program, sizeof(t->program), "%s", name);
}

const char *db_program(const struct txn *t)
{
	return t->program;
}

struct store_txn *db_store(struct txn *t)
{
	return t->store;
}

uint64_t txn_now_ms(const struct txn *t)
{
	return t->now_ms;
}

uint64_t txn_number(const struct txn *t)
{
	return t->number;
}

bool txn_is_remote(const struct txn *t)
{
	return t->remote;
}

static size_t slot_of(const struct txn *t, const struct id *id)
{
	uint64_t a = 0;
	uint64_t b = 0;

	memcpy(&a, id->b, sizeof(a));
	memcpy(&b, id->b + sizeof(a), sizeof(b));
	a = (a ^ t->db->salt) * UINT64_C(0xff51afd7ed558ccd);
	return (size_t)(((a ^ b ^ a >> 32) * UINT64_C(0xc4ceb9fe1a85ec53)) >> 32) &
	       (t->slot_count - 1);
}

/* Twice as many slots as nodes keep every lookup short, however many an envelope names. */
static void grow_slots(struct txn *t)
{
	t->slot_count = t->slot_count ? t->slot_count * 4 : TXN_SLOTS;
	free(t->slots);
	t->slots = xcalloc(t->slot_count, sizeof(struct txn_node *));
	for (struct txn_node *tn = t->first; tn; tn = tn->next) {
		struct txn_node **slot = &t->slots[slot_of(t, &tn->n.id)];

		tn->next_in_slot = *slot;
		*slot = tn;
	}
}

static struct txn_node *find_node(const struct txn *t, const struct id *id)
{
	struct txn_node *tn = t->slot_count ? t->slots[slot_of(t, id)] : NULL;

	while (tn && !id_eq(&tn->n.id, id))
		tn = tn->next_in_slot;
	return tn;
}

bool db_is_new(const struct txn *t, const struct id *node)
{
	const struct txn_node *tn = find_node(t, node);

	return tn && !tn->stored;
}

struct txn_node *txn_node(struct txn *t, const struct id *id)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct txn_node *found = find_node(t, id);

	if (found)
		return found;
	if (t->node_count * 2 >= t->slot_count)
		grow_slots(t);
	struct txn_node **slot = &t->slots[slot_of(t, id)];
	int r = store_get(t->store, key_node(&key, 'n', id), &value);
	if (r < 0 && r != -ENOENT)
		return NULL;
	struct txn_node *tn = xcalloc(1, sizeof(*tn));
	tn->n.id = *id;
	tn->known = tn->stored = r == 0;
	if (r == 0 && node_decode(id, buf_slice(&value), &tn->n) < 0) {
		node_fini(&tn->n);
		free(tn);
		return NULL;
	}
	tn->next_in_slot = *slot;
	*slot = tn;
	t->node_count++;
	*t->last = tn;
	t->last = &tn->next;
	return tn;
}

int txn_doc(struct txn *t, struct txn_node *tn, struct doc **ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf state = {0};
	AUTO(buf_fini) struct buf rendered = {0};

	if (!tn->doc) {
		int r = tn->stored ? store_get(t->store, key_node(&key, 's', &tn->n.id), &state)
				   : -ENOENT;
		if (r == 0)
			r = store_get(t->store, key_node(&key, 'r', &tn->n.id), &rendered);
		if (r == -ENOENT)
			tn->doc = doc_create();
		else if (r == 0)
			r = doc_decode(buf_slice(&state), buf_slice(&rendered), &tn->doc);
		if (tn->doc && tn->stored && tn->n.waiting) {
			r = txn_load_shown(t, tn, buf_slice(&rendered));
			if (r < 0)
				doc_destroy(STEAL(tn->doc));
		}
		if (tn->doc && tn->stored && r == 0 && !tn->is_rendered) {
			buf_fini(&tn->rendered);
			tn->rendered = rendered;
			rendered = (struct buf){0};
			tn->is_rendered = true;
		}
		if (!tn->doc)
			return r == -EBADMSG ? -EIO : r;
		txn_attach_side(t, tn);
	}
	*ret = tn->doc;
	return 0;
}

int txn_shown(struct txn *t, struct txn_node *tn, const struct doc **ret)
{
	struct doc *doc = NULL;
	int r = txn_doc(t, tn, &doc);

	*ret = tn->shown ? tn->shown : doc;
	return r;
}

struct slice txn_rendered(struct txn_node *tn)
{
	if (!tn->is_rendered) {
		buf_clear(&tn->rendered);
		doc_render(tn->shown ? tn->shown : tn->doc, &tn->rendered);
		tn->is_rendered = true;
	}
	return buf_slice(&tn->rendered);
}

struct draft *txn_draft(struct txn *t, const struct id *stream)
{
	for (size_t i = 0; i < t->draft_count; i++) {
		if (id_eq(&t->drafts[i].stream, stream))
			return &t->drafts[i];
	}
	t->drafts = xreallocarray(t->drafts, t->draft_count + 1, sizeof(*t->drafts));
	struct draft *d = &t->drafts[t->draft_count++];
	*d = (struct draft){.stream = *stream};
	return d;
}

struct op *txn_op(struct txn *t, const struct id *stream, enum op_kind kind, const struct id *node)
{
	return ops_add(&txn_draft(t, stream)->ops, kind, node, ++t->lamport);
}

struct feed *txn_feed(struct txn *t, const struct id *stream, uint64_t actor)
{
	for (size_t i = 0; i < t->feed_count; i++) {
		if (id_eq(&t->feeds[i].stream, stream) && t->feeds[i].actor == actor)
			return &t->feeds[i];
	}
	const struct feed *have = feed_find(t->db, stream, actor);
	t->feeds = xreallocarray(t->feeds, t->feed_count + 1, sizeof(*t->feeds));
	struct feed *f = &t->feeds[t->feed_count++];
	*f = have ? *have : (struct feed){.stream = *stream, .actor = actor};
	return f;
}

void txn_group(struct txn *t, const struct id *parent, struct slice name)
{
	if (t->group_count) {
		const struct group *last = &t->groups[t->group_count - 1];

		if (id_eq(&last->parent, parent) && slice_eq(last->name, name))
			return; /* thousands of nodes at one name come one after the other */
	}
	if (t->group_count == t->group_cap) {
		t->group_cap = t->group_cap ? t->group_cap * 2 : 16;
		t->groups = xreallocarray(t->groups, t->group_cap, sizeof(*t->groups));
	}
	t->groups[t->group_count++] =
		(struct group){.parent = *parent, .name = arena_copy(&t->arena, name)};
}

/* Where the node came to be: what a directory ever held is found by it. */
static void note_place(struct txn *t, const struct op *op)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	(void)key_node(&key, 'H', &op->parent);
	id_write(&key, &op->node);
	store_put(t->store, buf_slice(&key), SLICE("", 0));
}

void txn_history(struct txn *t, const struct change *c, const struct id *stream, uint64_t seq)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	uint64_t rev = 0;

	id_write(&value, stream);
	buf_varint(&value, seq);
	for (size_t i = 0; i < c->ops.count; i++) {
		const struct op *op = &c->ops.items[i];
		bool last = i + 1 == c->ops.count || !id_eq(&c->ops.items[i + 1].node, &op->node);

		if (op->kind == OP_AUTH)
			continue;
		if (op->kind == OP_MOVE)
			note_place(t, op);
		/* The token is the revision; an honest change has one for each node. */
		if (op->kind == OP_TOUCH || op->kind == OP_DELETE || rev == 0)
			rev = op->lamport;
		if (!last)
			continue;
		(void)key_node(&key, 'h', &op->node);
		buf_be64(&key, c->hlc);
		buf_be64(&key, rev);
		buf_be64(&key, c->actor);
		store_put(t->store, buf_slice(&key), buf_slice(&value));
		rev = 0;
	}
}

/* Heads of the stream's other feeds that our previous change there did not name yet. */
static void declare_deps(struct txn *t, const struct id *stream, struct change *c)
{
	const struct db *db = t->db;

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor == db->actor || !id_eq(&f->stream, stream) || f->seq <= f->declared)
			continue;
		struct dep *deps = arena_alloc(&c->ops.arena, (c->dep_count + 1) * sizeof(*deps));
		if (c->dep_count)
			memcpy(deps, c->deps, c->dep_count * sizeof(*deps));
		deps[c->dep_count++] = (struct dep){.actor = f->actor, .seq = f->seq};
		c->deps = deps;
		struct feed *copy = txn_feed(t, stream, f->actor);
		copy->declared = f->seq;
	}
}

static int draft_commit(struct txn *t, struct draft *d)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf bytes = {0};
	struct change c = {.actor = t->db->actor,
			   .hlc = t->hlc,
			   .program = SLICE_STR(t->program),
			   .ops = d->ops};

	if (d->ops.count == 0)
		return 0;
	declare_deps(t, &d->stream, &c);
	change_encode(&c, &bytes);
	d->ops = c.ops;
	if (bytes.len > CHANGE_BYTES_MAX)
		return -EFBIG; /* it could be stored, and never be sent */
	struct feed *own = txn_feed(t, &d->stream, t->db->actor);
	own->seq++;
	own->lamport = t->lamport;
	feed_key(&key, 'c', &d->stream, t->db->actor);
	buf_be64(&key, own->seq);
	store_put(t->store, buf_slice(&key), buf_slice(&bytes));
	txn_history(t, &c, &d->stream, own->seq);
	return 0;
}

static int write_doc(struct txn *t, struct txn_node *tn)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf state = {0};
	const struct doc *shown = tn->shown ? tn->shown : tn->doc;
	struct slice rendered = txn_rendered(tn);

	doc_encode(tn->doc, rendered, &state);
	store_put(t->store, key_node(&key, 's', &tn->n.id), buf_slice(&state));
	store_put(t->store, key_node(&key, 'r', &tn->n.id), rendered);
	txn_write_shown(t, tn, rendered);
	tn->n.chunked = doc_mode(shown) == DOC_CHUNKS;
	tn->n.size = tn->n.chunked ? manifest_size(rendered) : rendered.len;
	tn->n.conflicts = (uint32_t)doc_conflict_count(shown);
	tn->n.raw = doc_mode(shown) == DOC_RAW;
	tn->dirty = true;
	second_note(t, tn);
	return 0;
}

static void write_nodes(struct txn *t)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	for (struct txn_node *tn = t->first; tn; tn = tn->next) {
		if (!tn->dirty)
			continue;
		buf_clear(&value);
		node_encode(&tn->n, &value);
		store_put(t->store, key_node(&key, 'n', &tn->n.id), buf_slice(&value));
	}
}

static void write_counters(struct txn *t)
{
	AUTO(buf_fini) struct buf value = {0};

	if (t->record_count == t->db->record_count && t->arrival == t->db->arrival)
		return;
	buf_varint(&value, t->record_count);
	buf_varint(&value, t->arrival);
	store_put(t->store, SLICE_STR("m counters"), buf_slice(&value));
}

static void txn_fini(struct txn *t)
{
	if (t->moves_changed)
		tree_dirs_forget(t->db);
	for (struct txn_node *tn = t->first; tn;) {
		struct txn_node *next = tn->next;

		node_fini(&tn->n);
		doc_destroy(tn->doc);
		doc_destroy(tn->shown);
		buf_fini(&tn->rendered);
		free(tn);
		tn = next;
	}
	for (size_t i = 0; i < t->draft_count; i++)
		ops_fini(&t->drafts[i].ops);
	member_txn_fini(t);
	free(t->slots);
	free(t->drafts);
	free(t->groups);
	free(t->feeds);
	free(t->kept);
	free(t->wants);
	watch_batch_clear(&t->watched);
	arena_fini(&t->arena);
	store_abort(t->store);
}

void db_restart(struct txn *t)
{
	struct db *db = t->db;

	txn_fini(t);
	*t = (struct txn){0};
	txn_init(t, db);
}

/* A change of content made here, by a device that may only read. */
static bool is_forbidden(const struct txn *t)
{
	for (size_t i = 0; i < t->draft_count; i++) {
		if (t->drafts[i].ops.count > 0 && !id_eq(&t->drafts[i].stream, &t->db->auth_stream))
			return db_is_read_only(t->db);
	}
	return false;
}

int db_prepare(struct txn *t)
{
	int r = is_forbidden(t) ? -EROFS : 0;

	if (t->prepared || r < 0)
		return r;
	t->prepared = true;
	for (struct txn_node *tn = t->first; r == 0 && tn; tn = tn->next) {
		if (tn->content_changed || tn->doc_changed)
			r = write_doc(t, tn);
	}
	if (r == 0)
		r = tree_project(t);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < t->draft_count; i++)
		r = draft_commit(t, &t->drafts[i]);
	if (r < 0)
		return r;
	write_nodes(t);
	txn_write_wants(t);
	for (size_t i = 0; i < t->feed_count; i++)
		feed_write(t, &t->feeds[i]);
	write_counters(t);
	if (t->remote && !t->db->view.node_changed)
		store_put(t->store, SLICE_STR("m unseen"), SLICE("", 0));
	return 0;
}

/* Writes the batch; t is an empty transaction afterwards, and the lock still held, unless it was written. */
static int commit(struct txn *t, bool news, bool later)
{
	struct db *db = t->db;
	int r = db_prepare(t);
	bool tell_view = t->remote && t->view_called && db->view.committed;

	if (r == 0)
		r = later ? store_defer(STEAL(t->store)) : store_commit(STEAL(t->store));
	if (r < 0) {
		db_restart(t);
		if (tell_view)
			db->view.committed(db->view.ctx, t, r);
		return r;
	}
	db->lamport = t->lamport;
	db->hlc = t->hlc > db->hlc ? t->hlc : db->hlc;
	db->arrival = t->arrival;
	db->record_count = t->record_count;
	feed_publish(t);
	member_publish(t);
	quarantine_publish(t);
	t->moves_changed = false;
	txn_publish_wants(t);
	txn_watch_committed(t);
	if (tell_view)
		db->view.committed(db->view.ctx, NULL, 0);
	txn_fini(t);
	free(t);
	if (news)
		db_unlock_changed(db);
	else
		mutex_unlock(&db->lock);
	return 0;
}

static int commit_or_abort(struct txn *t, bool news)
{
	int r = commit(t, news, false);

	if (r < 0)
		db_abort(t);
	return r;
}

static bool has_news(const struct txn *t)
{
	bool news = t->remote || t->auth_count > 0;

	for (size_t i = 0; i < t->draft_count; i++)
		news = news || t->drafts[i].ops.count > 0;
	return news;
}

int db_try_commit(struct txn *t)
{
	return commit(t, has_news(t), false);
}

int db_try_commit_later(struct txn *t)
{
	bool news = has_news(t);

	return commit(t, news, !news);
}

int db_commit(struct txn *t)
{
	return commit_or_abort(t, has_news(t));
}

int db_commit_quiet(struct txn *t)
{
	return commit_or_abort(t, false);
}

int db_commit_changed(struct txn *t)
{
	return commit_or_abort(t, true);
}

void db_abort(struct txn *t)
{
	struct db *db = t->db;

	txn_fini(t);
	free(t);
	if (__atomic_load_n(&db->chunks_due,
			    __ATOMIC_RELAXED)) /* it met damage: somebody should see to it */
		db_unlock_changed(db);
	else
		mutex_unlock(&db->lock);
}
