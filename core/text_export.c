/*
 * The whole history of a text in one piece.
 *
 *   u8 version = 1
 *   four columns, each: varint bytes, varint bytes compressed, the bytes compressed with zstd
 *     chains  varint actor_count, 8 bytes each; varint count; each chain:
 *             varint actor index; varint zigzag (lamport - that after the actor's last operation);
 *             varint operations; varint events of each; varint parents, varint (first event - parent)
 *             each, ascending parents
 *     runs    varint len << 2 | kind each
 *     places  varint zigzag (pos - where the run before ended) each, but for runs that do nothing
 *     text    what was inserted
 *
 * Chains and runs are those of text_i.h, in the order of their events.
 */
#include "core/text_i.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define EXPORT_VERSION 1
#define EXPORT_LEVEL 19
/** Unpacked size of a column. */
#define COLUMN_BYTES_MAX (256u << 20)

static uint64_t zigzag(uint64_t now, uint64_t before)
{
	uint64_t diff = now - before;

	return diff << 1 ^ (diff >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t code, uint64_t before)
{
	return before + (code >> 1 ^ (code & 1 ? UINT64_MAX : 0));
}

static void put_column(struct buf *out, const struct buf *column)
{
	AUTO(buf_fini) struct buf packed = {0};
	size_t max = ZSTD_compressBound(column->len);
	size_t n = ZSTD_compress(buf_reserve(&packed, max), max,
				 column->data ? (const void *)column->data : "", column->len,
				 EXPORT_LEVEL);

	assert(!ZSTD_isError(n));
	packed.len = n;
	buf_varint(out, column->len);
	buf_bytes(out, buf_slice(&packed));
}

static uint64_t ops_of(const struct chain *c)
{
	return (c->end - c->lv) / c->per_op;
}

static void put_chains(const struct graph *g, struct buf *out)
{
	AUTO(free_ptr) uint64_t *lamports = xcalloc(g->actor_count, sizeof(*lamports));

	buf_varint(out, g->actor_count);
	for (size_t i = 0; i < g->actor_count; i++)
		buf_be64(out, g->actors[i].actor);
	buf_varint(out, g->chain_count);
	for (size_t i = 0; i < g->chain_count; i++) {
		const struct chain *c = &g->chains[i];

		buf_varint(out, c->actor);
		buf_varint(out, zigzag(c->lamport, lamports[c->actor]));
		lamports[c->actor] = c->lamport + ops_of(c);
		buf_varint(out, ops_of(c));
		buf_varint(out, c->per_op);
		buf_varint(out, c->parent_count);
		for (size_t k = 0; k < c->parent_count; k++)
			buf_varint(out, c->lv - g->parents[c->parents + k]);
	}
}

/* Where the next edit of a person probably is. */
static uint64_t pos_after(const struct run *r)
{
	switch (r->kind) {
	case RUN_INS:
		return r->pos + r->len;
	case RUN_BACK:
		return r->pos - r->len;
	case RUN_DEL:
	case RUN_NONE:
		break;
	}
	return r->pos;
}

static void put_runs(const struct graph *g, struct buf *runs, struct buf *places)
{
	uint64_t before = 0;

	for (size_t i = 0; i < g->run_count; i++) {
		const struct run *r = &g->runs[i];

		buf_varint(runs, r->len << 2 | r->kind);
		if (r->kind == RUN_NONE)
			continue;
		buf_varint(places, zigzag(r->pos, before));
		before = pos_after(r);
	}
}

void text_export(const struct text *t, struct buf *out)
{
	AUTO(buf_fini) struct buf chains = {0};
	AUTO(buf_fini) struct buf runs = {0};
	AUTO(buf_fini) struct buf places = {0};

	assert(t->history.kept);
	buf_u8(out, EXPORT_VERSION);
	put_chains(&t->graph, &chains);
	put_runs(&t->graph, &runs, &places);
	put_column(out, &chains);
	put_column(out, &runs);
	put_column(out, &places);
	put_column(out, &t->history.inserted);
}

struct importer {
	struct text *t;
	struct reader chains;
	struct reader runs;
	struct reader places;
	struct reader inserted;
	uint64_t before;
	struct run run; /* what is left of it */
	uint64_t *actors;
	uint64_t *lamports;
	uint64_t actor_count;
	struct opid *parents;
	size_t parent_cap;
	struct text_edits edits;
	bool bad;
};

static struct reader take_column(struct reader *r, struct buf *room)
{
	uint64_t len = reader_varint_max(r, COLUMN_BYTES_MAX);
	struct slice packed = reader_bytes(r, reader_left(r));

	if (!r->bad && ZSTD_getFrameContentSize(packed.data, packed.len) != len)
		r->bad = true;
	if (r->bad)
		return reader_init(SLICE("", 0));
	size_t n = ZSTD_decompress(buf_reserve(room, len + 1), len, packed.data, packed.len);
	if (ZSTD_isError(n) || n != len)
		r->bad = true;
	else
		room->len = n;
	return reader_init(buf_slice(room));
}

/* At most `max` events of what comes next; none at the end. */
static struct run take_run(struct importer *m, uint64_t max)
{
	if (m->run.len == 0) {
		uint64_t head = reader_varint(&m->runs);

		m->run = (struct run){.len = head >> 2, .kind = (enum run_kind)(head & 3)};
		if (m->run.kind != RUN_NONE)
			m->run.pos = unzigzag(reader_varint(&m->places), m->before);
		if (m->run.len == 0 || (m->run.kind == RUN_BACK && m->run.len > m->run.pos + 1))
			m->bad = true;
		if (m->run.kind != RUN_NONE)
			m->before = pos_after(&m->run);
	}
	m->bad = m->bad || m->runs.bad || m->places.bad;
	if (m->bad)
		return (struct run){0};
	m->run.lv = 0;
	struct run r = graph_clip(&m->run, 0, max);
	m->run = graph_clip(&m->run, r.len, m->run.len);
	return r;
}

/* The edits of one operation, out of its runs: their places are those after the edits before. */
static void take_edits(struct importer *m, uint64_t events)
{
	uint64_t shift = 0;
	uint64_t end = 0;

	m->edits.count = 0;
	while (events && !m->bad) {
		struct run r = take_run(m, events);
		struct text_edit x = {.pos = r.pos - shift};

		if (m->bad || r.kind == RUN_NONE) {
			m->bad = m->bad || events != 1 || m->edits.count;
			return;
		}
		if (r.kind == RUN_INS)
			x.ins = reader_take(&m->inserted, r.len);
		else
			x.del = r.len;
		/* No operation deletes backwards, nor goes back behind an edit before. */
		if (m->inserted.bad || x.pos < end || x.pos > COLUMN_BYTES_MAX ||
		    m->edits.count >= TEXT_EDITS_MAX || (r.kind == RUN_BACK && r.len > 1))
			m->bad = true;
		end = x.pos + x.del;
		shift += x.ins.len - x.del;
		events -= r.len;
		text_edits_add(&m->edits, x);
	}
}

static void take_chain(struct importer *m)
{
	struct reader *r = &m->chains;
	uint64_t actor = reader_varint_max(r, m->actor_count ? m->actor_count - 1 : 0);
	uint64_t lamport = unzigzag(reader_varint(r), r->bad ? 0 : m->lamports[actor]);
	uint64_t ops = reader_varint_max(r, COLUMN_BYTES_MAX);
	uint64_t per_op = reader_varint_max(r, COLUMN_BYTES_MAX);
	size_t parent_count = (size_t)reader_varint_max(r, reader_left(r));
	uint64_t lv = m->t->graph.next ? m->t->graph.next : 1;
	size_t n = 0;
	uint64_t len = 0;

	if (r->bad || ops == 0 || per_op == 0 || parent_count == 0 || lamport == 0 ||
	    lamport < m->lamports[actor] || lamport >> 62) {
		m->bad = true;
		return;
	}
	if (m->parent_cap < parent_count) {
		m->parent_cap = parent_count;
		m->parents = xreallocarray(m->parents, parent_count, sizeof(*m->parents));
	}
	for (size_t i = 0; i < parent_count; i++) {
		uint64_t back = reader_varint(r);

		if (r->bad || back == 0 || back > lv || (back == lv && parent_count > 1)) {
			m->bad = true;
			return;
		}
		if (back < lv)
			m->parents[n++] = graph_opid(&m->t->graph, lv - back);
	}
	m->lamports[actor] = lamport + ops;
	for (uint64_t i = 0; i < ops && !m->bad; i++) {
		struct opid id = {.lamport = lamport + i, .actor = m->actors[actor]};

		take_edits(m, per_op);
		if (m->bad || text_apply(m->t, id, m->parents, n, &m->edits, &len) != TEXT_APPLIED)
			m->bad = true;
		m->parents[0] = id;
		n = 1;
	}
}

static void take_all(struct importer *m)
{
	struct reader *r = &m->chains;

	m->actor_count = reader_varint_max(r, reader_left(r) / 8);
	m->actors = xcalloc(m->actor_count + 1, sizeof(*m->actors));
	m->lamports = xcalloc(m->actor_count + 1, sizeof(*m->lamports));
	for (size_t i = 0; i < m->actor_count; i++) {
		m->actors[i] = reader_be64(r);
		for (size_t k = 0; k < i; k++)
			m->bad = m->bad || m->actors[k] == m->actors[i];
	}
	uint64_t chains = reader_varint_max(r, reader_left(r));
	for (uint64_t i = 0; i < chains && !m->bad && !r->bad; i++)
		take_chain(m);
	m->bad = m->bad || reader_finish(r) < 0 || reader_finish(&m->runs) < 0 ||
		 reader_finish(&m->places) < 0 || reader_finish(&m->inserted) < 0 || m->run.len;
}

int text_import(struct slice bytes, struct text **ret)
{
	struct buf room[4] = {0};
	struct reader r = reader_init(bytes);
	struct importer m = {.t = text_create(SLICE("", 0), NULL, 0)};

	text_keep_history(m.t);
	if (reader_u8(&r) != EXPORT_VERSION)
		r.bad = true;
	m.chains = take_column(&r, &room[0]);
	m.runs = take_column(&r, &room[1]);
	m.places = take_column(&r, &room[2]);
	m.inserted = take_column(&r, &room[3]);
	m.bad = reader_finish(&r) < 0;
	if (!m.bad)
		take_all(&m);
	for (size_t i = 0; i < countof(room); i++)
		buf_fini(&room[i]);
	text_edits_fini(&m.edits);
	free(m.actors);
	free(m.lamports);
	free(m.parents);
	if (m.bad) {
		text_destroy(m.t);
		return -EBADMSG;
	}
	*ret = m.t;
	return 0;
}
