/* Giving snapshots; see snapshot.h. */
#include "core/snapshot.h"

#include "core/db_i.h"
#include "core/snapshot_i.h"
#include "core/zip.h"

#include <stdlib.h>
#include <string.h>

/** A snapshot that nobody asked for in this time is given up: it keeps old data on the disk. */
#define SOURCE_IDLE_MS (10u * 60 * 1000)
#define ZIP_LEVEL 3

enum phase {
	PHASE_FEEDS = 1,
	PHASE_MOVES,
	PHASE_NODES
};

struct snapshot_source {
	struct id id;
	struct store_view *view;
	struct feed *feeds;
	size_t feed_count;
	uint64_t used_ms;
};

struct envelope_place snapshot_place(const struct db *db, const struct id *id, uint64_t author)
{
	const struct slice part = SLICE(id->b, sizeof(id->b));

	struct id stream = digest_id("blaze snapshot", &part, 1);

	return epoch_place(db, &stream, author);
}

void snapshot_fini(struct db *db)
{
	struct snapshot_source *s = STEAL(db->snapshot_source);

	if (!s)
		return;
	store_view_destroy(s->view);
	free(s->feeds);
	free(s);
}

void snapshot_expire(struct db *db, uint64_t now_ms)
{
	const struct snapshot_source *s = db->snapshot_source;

	if (s && (now_ms < s->used_ms || now_ms - s->used_ms > SOURCE_IDLE_MS))
		snapshot_fini(db);
}

static bool is_worth_it(const struct db *db)
{
	uint64_t changes = 0;

	for (size_t i = 0; i < db->feed_count; i++) {
		if (!id_eq(&db->feeds[i].stream, &db->auth_stream))
			changes += db->feeds[i].sealed;
	}
	return changes >= db->env.stratum_changes && !db->installing;
}

/* The lock is held, and everything is sealed. */
static struct snapshot_source *source_create(struct db *db)
{
	struct store_view *view = store_view_create(db->store);

	if (!view)
		return NULL;
	struct snapshot_source *s = xcalloc(1, sizeof(*s));
	s->view = view;
	random_bytes(s->id.b, sizeof(s->id.b));
	s->feeds = xcalloc(db->feed_count, sizeof(*s->feeds));
	for (size_t i = 0; i < db->feed_count; i++) {
		/* Members come by the log: each is vouched for there. */
		if (!id_eq(&db->feeds[i].stream, &db->auth_stream))
			s->feeds[s->feed_count++] = db->feeds[i];
	}
	return s;
}

int db_snapshot_offer(struct db *db, struct id *id)
{
	for (;;) {
		int r = db_seal(db);

		if (r == 0) /* what is given away must not be issued again after a power cut */
			r = db_sync(db);
		if (r < 0)
			return r;
		struct txn *t = db_begin(db);
		struct snapshot_source *s = db->snapshot_source;
		bool ready = s || !feed_has_loose(db);

		if (s && !id_eq(id, &s->id)) { /* who begins begins with what is new */
			snapshot_expire(db, t->now_ms);
			s = db->snapshot_source;
		}
		if (!s && ready && is_worth_it(db))
			s = db->snapshot_source = source_create(db);
		if (s) {
			s->used_ms = t->now_ms;
			*id = s->id;
		}
		db_abort(t);
		if (ready)
			return s != NULL;
	}
}

/** A piece being made. */
struct piece {
	struct snapshot_source *s;
	struct buf plain;
	struct buf cursor;
	int error;
};

/* Whether there is room for another entry; else the next piece begins with it. */
static bool has_room(struct piece *p, enum phase phase, struct slice key)
{
	if (p->plain.len < SNAPSHOT_PIECE_BYTES)
		return true;
	buf_clear(&p->cursor);
	buf_u8(&p->cursor, (uint8_t)phase);
	buf_slice_append(&p->cursor, key);
	return false;
}

static bool put_move(void *ctx, struct slice key, struct slice value)
{
	struct piece *p = ctx;

	if (!has_room(p, PHASE_MOVES, key))
		return false;
	buf_u8(&p->plain, SNAPSHOT_MOVE);
	buf_append(&p->plain, key.data + 1, key.len - 1);
	buf_bytes(&p->plain, value);
	return true;
}

static bool put_more(void *ctx, struct slice key, struct slice value)
{
	struct piece *p = ctx;

	buf_u8(&p->plain, SNAPSHOT_MORE);
	buf_append(&p->plain, key.data + 1, sizeof(struct id));
	buf_bytes(&p->plain, SLICE(key.data + 17, key.len - 17));
	buf_bytes(&p->plain, value);
	return true;
}

static bool put_node(void *ctx, struct slice key, struct slice value)
{
	struct piece *p = ctx;
	AUTO(buf_fini) struct buf other = {0};
	AUTO(buf_fini) struct buf bytes = {0};

	if (!has_room(p, PHASE_NODES, key))
		return false;
	buf_u8(&p->plain, SNAPSHOT_NODE);
	buf_append(&p->plain, key.data + 1, key.len - 1);
	buf_bytes(&p->plain, value);
	buf_slice_append(&other, key);
	for (size_t i = 0; p->error == 0 && i < 2; i++) {
		other.data[0] = (uint8_t) "sr"[i];
		int r = store_view_read(p->s->view, buf_slice(&other), &bytes);
		p->error = r == -ENOENT ? 0 : r;
		buf_bytes(&p->plain, buf_slice(&bytes));
	}
	other.data[0] = 'x';
	if (p->error == 0)
		p->error = store_view_scan(p->s->view, buf_slice(&other), SLICE("", 0), put_more, p);
	return p->error == 0;
}

static void put_feeds(struct piece *p)
{
	for (size_t i = 0; i < p->s->feed_count; i++) {
		const struct feed *f = &p->s->feeds[i];

		buf_u8(&p->plain, SNAPSHOT_FEED);
		id_write(&p->plain, &f->stream);
		buf_be64(&p->plain, f->actor);
		buf_varint(&p->plain, f->sealed);
		buf_varint(&p->plain, f->lamport);
		buf_append(&p->plain, f->head, sizeof(f->head));
	}
}

static int fill_piece(struct piece *p, struct slice cursor)
{
	enum phase phase = cursor.len ? (enum phase)cursor.data[0] : PHASE_FEEDS;
	struct slice from = cursor.len ? SLICE(cursor.data + 1, cursor.len - 1) : SLICE("", 0);
	int r = 0;

	if (phase == PHASE_FEEDS)
		put_feeds(p);
	if (phase <= PHASE_MOVES)
		r = store_view_scan(p->s->view, SLICE_STR("t"), from, put_move, p);
	if (phase <= PHASE_MOVES)
		from = SLICE("", 0);
	if (r == 0 && p->cursor.len == 0)
		r = store_view_scan(p->s->view, SLICE_STR("n"), from, put_node, p);
	return r < 0 ? r : p->error;
}

int db_snapshot_piece(struct db *db, const struct id *id, uint64_t index, struct buf *cursor,
		      struct buf *envelope)
{
	AUTO(buf_fini) struct buf body = {0};
	struct piece p = {0};
	struct txn *t = db_begin(db);
	const struct envelope_place at = snapshot_place(db, id, db->actor);

	p.s = db->snapshot_source;
	int r = p.s && id_eq(&p.s->id, id) ? 0 : -ESTALE;
	if (r == 0)
		p.s->used_ms = t->now_ms;
	if (r == 0)
		r = fill_piece(&p, buf_slice(cursor));
	if (r < 0 && r != -ESTALE)
		snapshot_fini(db);
	db_abort(t);
	bool last = p.cursor.len == 0;
	if (r == 0) {
		buf_u8(&body, last);
		buf_bytes(&body, buf_slice(&p.cursor));
		zip_pack(buf_slice(&p.plain), ZIP_LEVEL, &body);
		struct slice change = buf_slice(&body);
		envelope_seal(&at, db->keys, index, &change, 1, envelope);
		buf_clear(cursor);
		buf_slice_append(cursor, buf_slice(&p.cursor));
	}
	buf_fini(&p.plain);
	buf_fini(&p.cursor);
	return r < 0 ? r : !last;
}
