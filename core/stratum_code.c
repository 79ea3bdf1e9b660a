/* Columns; see stratum_code.h. Writer and reader run the same model, and so predict the same. */
#include "core/stratum_code.h"

#include "core/change.h"

#include <stdlib.h>
#include <string.h>

enum column {
	COLUMN_HOW,
	COLUMN_MS,
	COLUMN_COUNTER,
	COLUMN_LAMPORT,
	COLUMN_NODE,
	COLUMN_IDS,
	COLUMN_PRED,
	COLUMN_BACK,
	COLUMN_PATH,
	COLUMN_PATHS,
	COLUMN_VALUE,
	COLUMN_WAYPOINT,
	COLUMN_REST,
	COLUMN_VERBATIM,
	COLUMNS
};

enum pred {
	PRED_REST,
	PRED_LAST,
	PRED_BACK
};

/** Paths that get a number; later ones are new each time. */
#define PATHS_MAX 4096
/** Lamports are below. */
#define LAMPORT_END ((uint64_t)1 << 62)

/** A power of two. Two keys in one slot predict worse, and nothing else. */
#define LAST_SLOTS 65536

/** What was seen so far. */
struct model {
	uint64_t ms;
	uint64_t lamport; /**< the next change's, if nothing came in between */
	struct id node;
	struct id *ids; /**< in order of their first use */
	size_t id_count;
	size_t id_cap;
	uint32_t *slots; /**< hash of ids: number + 1 */
	size_t slot_count;
	struct opid *last; /**< by what was written */
	struct slice *paths;
	size_t path_count;
};

static void model_init(struct model *m)
{
	*m = (struct model){0};
	m->last = xcalloc(LAST_SLOTS, sizeof(*m->last));
	m->paths = xcalloc(PATHS_MAX, sizeof(*m->paths));
}

static void model_fini(struct model *m)
{
	free(m->ids);
	free(m->slots);
	free(m->last);
	free(m->paths);
}

static uint64_t hash_bytes(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.data[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static uint32_t *id_slot(const struct model *m, const struct id *id)
{
	size_t mask = m->slot_count - 1;
	size_t i = hash_bytes(0xcbf29ce484222325u, SLICE(id->b, sizeof(id->b))) & mask;

	while (m->slots[i] && !id_eq(&m->ids[m->slots[i] - 1], id))
		i = (i + 1) & mask;
	return &m->slots[i];
}

static void model_add(struct model *m, const struct id *id)
{
	if (m->id_count * 2 >= m->slot_count) {
		m->slot_count = m->slot_count ? m->slot_count * 4 : 256;
		free(m->slots);
		m->slots = xcalloc(m->slot_count, sizeof(*m->slots));
		for (size_t i = 0; i < m->id_count; i++)
			*id_slot(m, &m->ids[i]) = (uint32_t)i + 1;
	}
	if (m->id_count == m->id_cap) {
		m->id_cap = m->id_cap ? m->id_cap * 2 : 256;
		m->ids = xreallocarray(m->ids, m->id_cap, sizeof(*m->ids));
	}
	m->ids[m->id_count++] = *id;
	*id_slot(m, id) = (uint32_t)m->id_count;
}

/* Where the last operation of a group stands. */
static struct opid *model_slot(const struct model *m, uint8_t group, const struct id *node,
			       struct slice path)
{
	uint64_t h = hash_bytes(group + 1, SLICE(node->b, sizeof(node->b)));

	return &m->last[hash_bytes(h, path) & (LAST_SLOTS - 1)];
}

/* Where the last operation stands that wrote what op writes. */
static struct opid *model_last(const struct model *m, const struct op *op)
{
	return model_slot(m, (uint8_t)change_writes(op->kind), &op->node, op->path);
}

static void model_wrote(struct model *m, const struct op *op, struct opid *last, uint64_t actor)
{
	if (op->kind != OP_DELETE)
		*last = (struct opid){.lamport = op->lamport, .actor = actor};
	m->lamport = op->lamport + 1;
}

static void model_add_path(struct model *m, struct slice path)
{
	if (m->path_count < PATHS_MAX)
		m->paths[m->path_count++] = path;
}

static uint64_t zigzag(uint64_t now, uint64_t before)
{
	uint64_t diff = now - before;

	return diff << 1 ^ (diff >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t code, uint64_t before)
{
	return before + (code >> 1 ^ (code & 1 ? UINT64_MAX : 0));
}

/* ---- writing ------------------------------------------------------------------------------------ */

struct writer {
	struct model m;
	struct buf columns[COLUMNS];
	struct arena arena;
};

/* Takes the id out of *id. */
static void put_id(struct writer *w, struct id *id)
{
	struct buf *out = &w->columns[COLUMN_NODE];

	if (id_eq(id, &w->m.node)) {
		buf_varint(out, 0);
	} else {
		uint32_t number = w->m.slot_count ? *id_slot(&w->m, id) : 0;

		buf_varint(out, number ? (uint64_t)number + 1 : 1);
		if (!number) {
			id_write(&w->columns[COLUMN_IDS], id);
			model_add(&w->m, id);
		}
		w->m.node = *id;
	}
	*id = (struct id){{0}};
}

static void put_pred(struct writer *w, struct op *op, struct opid last, uint64_t actor)
{
	enum pred how = PRED_REST;

	if (op->pred_count == 1 && opid_eq(op->preds[0], last)) {
		how = PRED_LAST;
	} else if (op->pred_count == 1 && op->preds[0].actor == actor &&
		   op->preds[0].lamport < op->lamport) {
		how = PRED_BACK;
		buf_varint(&w->columns[COLUMN_BACK], op->lamport - op->preds[0].lamport);
	}
	buf_u8(&w->columns[COLUMN_PRED], (uint8_t)how);
	if (how != PRED_REST)
		op->pred_count = 0;
}

static void put_path(struct writer *w, struct op *op)
{
	size_t n = 0;

	while (n < w->m.path_count && !slice_eq(w->m.paths[n], op->path))
		n++;
	if (n == w->m.path_count) {
		buf_varint(&w->columns[COLUMN_PATH], 0);
		buf_bytes(&w->columns[COLUMN_PATHS], op->path);
		model_add_path(&w->m, arena_copy(&w->arena, op->path));
	} else {
		buf_varint(&w->columns[COLUMN_PATH], n + 1);
	}
	op->path = SLICE("", 0);
}

static void put_op(struct writer *w, struct op *op, uint64_t first, uint64_t actor)
{
	struct opid *last = model_last(&w->m, op);

	put_pred(w, op, *last, actor);
	model_wrote(&w->m, op, last, actor);
	if (op->kind == OP_SET) {
		buf_bytes(&w->columns[COLUMN_VALUE], op->value);
		op->value = SLICE("", 0);
	}
	if (op->kind == OP_SET || op->kind == OP_UNSET)
		put_path(w, op);
	if (op->has_place)
		buf_varint(&w->columns[COLUMN_WAYPOINT], op->lamport - op->place.waypoint);
	put_id(w, &op->node);
	if (op->kind == OP_MOVE)
		put_id(w, &op->parent);
	op->lamport -= first - 1;
	op->place.waypoint = op->lamport;
}

static void put_change(struct writer *w, struct change *c)
{
	uint64_t first = c->ops.count ? c->ops.items[0].lamport : 0;
	uint64_t ms = c->hlc >> 16;

	buf_varint(&w->columns[COLUMN_MS], zigzag(ms, w->m.ms));
	buf_varint(&w->columns[COLUMN_COUNTER], c->hlc & 0xffff);
	buf_varint(&w->columns[COLUMN_LAMPORT], zigzag(first, w->m.lamport));
	w->m.ms = ms;
	c->hlc = 0;
	for (size_t i = 0; i < c->ops.count; i++)
		put_op(w, &c->ops.items[i], first, c->actor);
}

/* Whether it is as change_encode() would write it: only then the columns say it all. */
static bool is_plain(struct slice bytes, const struct change *c)
{
	AUTO(buf_fini) struct buf again = {0};

	change_encode(c, &again);
	return slice_eq(bytes, buf_slice(&again));
}

void stratum_encode(uint64_t actor, struct slice changes, uint64_t count, struct buf *out)
{
	struct writer w = {0};
	struct reader r = reader_init(changes);

	model_init(&w.m);
	for (uint64_t i = 0; i < count; i++) {
		AUTO(change_fini) struct change c = {0};
		AUTO(buf_fini) struct buf rest = {0};
		struct slice bytes = reader_bytes(&r, changes.len);
		bool plain = change_decode(bytes, actor, &c) == 0 && is_plain(bytes, &c);

		buf_u8(&w.columns[COLUMN_HOW], plain);
		if (plain) {
			put_change(&w, &c);
			change_encode(&c, &rest);
			buf_bytes(&w.columns[COLUMN_REST], buf_slice(&rest));
		} else {
			buf_bytes(&w.columns[COLUMN_VERBATIM], bytes);
		}
	}
	assert(reader_finish(&r) == 0);
	buf_varint(out, count);
	for (size_t i = 0; i < COLUMNS; i++) {
		buf_bytes(out, buf_slice(&w.columns[i]));
		buf_fini(&w.columns[i]);
	}
	arena_fini(&w.arena);
	model_fini(&w.m);
}

/* ---- reading ------------------------------------------------------------------------------------ */

struct unpacker {
	struct model m;
	struct reader columns[COLUMNS];
};

static struct id take_id(struct unpacker *u)
{
	struct reader *r = &u->columns[COLUMN_NODE];
	uint64_t number = reader_varint_max(r, u->m.id_count + 1);

	if (number == 1) {
		u->m.node = id_read(&u->columns[COLUMN_IDS]);
		/* Twice the same: nobody writes that, and the model would lose count. */
		if (u->columns[COLUMN_IDS].bad || (u->m.slot_count && *id_slot(&u->m, &u->m.node)))
			r->bad = true;
		else
			model_add(&u->m, &u->m.node);
	} else if (number > 1) {
		u->m.node = u->m.ids[number - 2];
	}
	return u->m.node;
}

static bool take_pred(struct unpacker *u, struct change *c, struct op *op, struct opid last)
{
	uint8_t how = reader_u8(&u->columns[COLUMN_PRED]);

	if (how == PRED_REST)
		return true;
	if (how == PRED_BACK) {
		uint64_t back = reader_varint_max(&u->columns[COLUMN_BACK], op->lamport - 1);

		last = (struct opid){.lamport = back ? op->lamport - back : 0, .actor = c->actor};
	}
	if (how > PRED_BACK || op->pred_count || last.lamport == 0)
		return false;
	op->preds = arena_alloc(&c->ops.arena, sizeof(*op->preds));
	op->preds[0] = last;
	op->pred_count = 1;
	return true;
}

static void take_path(struct unpacker *u, struct op *op)
{
	uint64_t n = reader_varint_max(&u->columns[COLUMN_PATH], u->m.path_count);

	if (n) {
		op->path = u->m.paths[n - 1];
		return;
	}
	op->path = reader_bytes(&u->columns[COLUMN_PATHS], CHANGE_PATH_BYTES_MAX);
	model_add_path(&u->m, op->path);
}

static bool take_waypoint(struct unpacker *u, struct op *op, uint64_t lamport)
{
	bool none = op->place.waypoint == lamport;

	op->place.waypoint =
		op->lamport - reader_varint_max(&u->columns[COLUMN_WAYPOINT], op->lamport);
	return none;
}

static bool take_value(struct unpacker *u, struct op *op)
{
	bool none = op->value.len == 0;

	op->value = reader_bytes(&u->columns[COLUMN_VALUE], RECORD_BYTES_MAX);
	return none;
}

static int take_op(struct unpacker *u, struct change *c, struct op *op, uint64_t first)
{
	op->node = take_id(u);
	if (op->kind == OP_MOVE)
		op->parent = take_id(u);
	uint64_t lamport = op->lamport;
	op->lamport += first - 1;
	if (op->lamport < first || op->lamport >= LAMPORT_END)
		return -EBADMSG;
	if (op->kind == OP_SET || op->kind == OP_UNSET)
		take_path(u, op);
	struct opid *last = model_last(&u->m, op);
	if (!take_pred(u, c, op, *last))
		return -EBADMSG;
	model_wrote(&u->m, op, last, c->actor);
	if (op->has_place && !take_waypoint(u, op, lamport))
		return -EBADMSG;
	return op->kind != OP_SET || take_value(u, op) ? 0 : -EBADMSG;
}

static int take_change(struct unpacker *u, uint64_t actor, struct buf *out)
{
	AUTO(change_fini) struct change c = {0};
	struct slice rest = reader_bytes(&u->columns[COLUMN_REST], SIZE_MAX);
	int r = change_decode(rest, actor, &c);

	if (r < 0)
		return r;
	u->m.ms = unzigzag(reader_varint(&u->columns[COLUMN_MS]), u->m.ms);
	c.hlc = u->m.ms << 16 | reader_varint_max(&u->columns[COLUMN_COUNTER], 0xffff);
	uint64_t first = unzigzag(reader_varint(&u->columns[COLUMN_LAMPORT]), u->m.lamport);
	if ((first == 0) != (c.ops.count == 0))
		return -EBADMSG;
	for (size_t i = 0; r == 0 && i < c.ops.count; i++)
		r = take_op(u, &c, &c.ops.items[i], first);
	for (size_t i = 0; r == 0 && i < COLUMNS; i++)
		r = u->columns[i].bad ? -EBADMSG : 0;
	if (r == 0) {
		AUTO(buf_fini) struct buf bytes = {0};

		change_encode(&c, &bytes);
		buf_bytes(out, buf_slice(&bytes));
	}
	return r;
}

int stratum_decode(uint64_t actor, struct reader *r, size_t max, struct buf *out)
{
	struct unpacker u = {0};
	size_t start = out->len;
	uint64_t count = reader_varint_max(r, reader_left(r));
	int err = 0;

	for (size_t i = 0; i < COLUMNS; i++)
		u.columns[i] = reader_init(reader_bytes(r, SIZE_MAX));
	if (reader_finish(r) < 0)
		return -EBADMSG;
	model_init(&u.m);
	for (uint64_t i = 0; err == 0 && i < count; i++) {
		uint8_t how = reader_u8(&u.columns[COLUMN_HOW]);

		if (how == 1)
			err = take_change(&u, actor, out);
		else
			buf_bytes(out, reader_bytes(&u.columns[COLUMN_VERBATIM], SIZE_MAX));
		if (how > 1 || u.columns[COLUMN_HOW].bad || u.columns[COLUMN_VERBATIM].bad ||
		    out->len - start > max)
			err = -EBADMSG;
	}
	for (size_t i = 0; err == 0 && i < COLUMNS; i++)
		err = reader_finish(&u.columns[i]);
	model_fini(&u.m);
	return err;
}
