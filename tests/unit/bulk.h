/* Cores that save content in chunks and talk to each other over a line that can be cut: for unit tests. */
#ifndef BLAZE_TESTS_UNIT_BULK_H
#define BLAZE_TESTS_UNIT_BULK_H

#include "core/import.h"
#include "core/sync.h"
#include "core/sync_chunks.h"
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static uint64_t seed = 1;
static char base[256];
static unsigned runs;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/* ---- devices ------------------------------------------------------------------------------------- */

struct side {
	char dir[512];
	struct keys *keys;
	struct db *db;
};

static inline void side_open(struct side *s)
{
	struct why why = {""};

	if (db_open(s->dir, s->keys, NULL, &s->db, &why) != 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
}

static inline void family(struct side *sides, unsigned count)
{
	struct why why;

	runs++;
	for (unsigned i = 0; i < count; i++) {
		AUTO(free_ptr) char *key = xasprintf("%s/key%u.%u", base, runs, i);
		char name[16];

		(void)snprintf(name, sizeof(name), "dev%u", i);
		(void)snprintf(sides[i].dir, sizeof(sides[i].dir), "%s/db%u.%u", base, runs, i);
		CHECK(keys_create(key, name, &sides[i].keys, &why) == 0);
	}
	CHECK(db_create(sides[0].dir, "work", sides[0].keys, &why) == 0);
	side_open(&sides[0]);
	for (unsigned i = 1; i < count; i++) {
		AUTO(buf_fini) struct buf welcome = {0};
		AUTO(buf_fini) struct buf cert = {0};

		db_welcome(sides[0].db, &welcome);
		CHECK(db_join(sides[i].dir, sides[i].keys, buf_slice(&welcome), &why) == 0);
		side_open(&sides[i]);
		keys_cert(sides[i].keys, &cert);
		CHECK(db_admit(sides[0].db, buf_slice(&cert), MEMBER_OWNER) == 0);
	}
}

static inline void part(struct side *sides, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		db_close(sides[i].db);
		keys_destroy(sides[i].keys);
	}
}

/* ---- talking ------------------------------------------------------------------------------------- */

/** A connection that can be cut, and lies if told so. */
struct line {
	struct side *a;
	struct side *b;
	size_t budget; /**< bytes of chunks until it is cut; 0 = none */
	bool forge;    /**< every chunk is damaged on the way */
	size_t bytes;  /**< that went over it */
	size_t chunk_bytes;
};

static inline bool carry(struct line *l, struct sync *to, struct buf *m)
{
	bool chunk = m->len && m->data[0] == SYNC_CHUNKS_CHUNK;

	l->bytes += m->len;
	l->chunk_bytes += chunk ? m->len : 0;
	if (chunk && l->budget && l->chunk_bytes > l->budget)
		return false;
	if (chunk && l->forge)
		m->data[m->len - 1] ^= 1;
	CHECK(sync_receive(to, buf_slice(m)) == 0);
	return true;
}

static inline void talk(struct line *l)
{
	struct sync_options oa = {
		.db = l->a->db, .peer = db_actor(l->b->db), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {
		.db = l->b->db, .peer = db_actor(l->a->db), .endpoint = "", .now_ms = 1};
	struct sync *sa = sync_create(&oa);
	struct sync *sb = sync_create(&ob);
	AUTO(buf_fini) struct buf m = {0};
	bool up = true;

	for (unsigned idle = 0; up && idle < 3;) {
		bool busy = false;

		for (unsigned i = rnd(4) + 1; up && i && sync_next(sa, &m) == 1; i--) {
			up = carry(l, sb, &m);
			busy = true;
		}
		for (unsigned i = rnd(4) + 1; up && i && sync_next(sb, &m) == 1; i--) {
			up = carry(l, sa, &m);
			busy = true;
		}
		idle = busy ? 0 : idle + 1;
		if (!busy || rnd(50) == 0)
			CHECK(db_sync(l->a->db) == 0 && db_sync(l->b->db) == 0);
	}
	sync_destroy(sa);
	sync_destroy(sb);
}

static inline struct line meet(struct side *a, struct side *b)
{
	struct line l = {.a = a, .b = b};

	talk(&l);
	return l;
}

/* ---- files --------------------------------------------------------------------------------------- */

static inline void fill(struct buf *b, size_t len, uint64_t from)
{
	uint64_t x = from * 2654435761u + 1;

	buf_clear(b);
	while (b->len < len) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buf_be64(b, x);
	}
	b->len = len;
}

static inline struct id node_of(const struct side *s, struct txn *t, const char *name)
{
	struct id root = db_root(s->db);
	struct id id;

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	return id;
}

static inline void save_from(struct side *s, const char *name, const struct buf *bytes,
			     const struct doc *read)
{
	AUTO(buf_fini) struct buf manifest = {0};
	struct import *im = import_create(s->db, bytes->len, NULL);
	size_t at = 0;

	while (at < bytes->len) {
		size_t n = bytes->len - at < 100000 ? bytes->len - at : 100000;

		CHECK(import_data(im, SLICE(bytes->data + at, n)) == 0);
		at += n;
	}
	CHECK(import_finish(im, &manifest) == 0);
	struct txn *t = db_begin(s->db);
	struct id root = db_root(s->db);
	struct id node = node_of(s, t, name);
	CHECK(db_put_node(t, &node, NODE_RECORD, &root, name) == 0);
	CHECK(db_put_chunks(t, &node, read, buf_slice(&manifest)) >= 0);
	CHECK(db_commit(t) == 0);
	import_destroy(im); /* not before: it keeps what no change names from being collected */
}

static inline void save(struct side *s, const char *name, const struct buf *bytes)
{
	save_from(s, name, bytes, NULL);
}

static inline void save_plain(struct side *s, const char *name, const char *text)
{
	struct txn *t = db_begin(s->db);
	struct id root = db_root(s->db);
	struct id node = node_of(s, t, name);

	CHECK(db_put_node(t, &node, NODE_RECORD, &root, name) == 0);
	CHECK(db_put_content(t, &node, NULL, SLICE_STR(text)) >= 0);
	CHECK(db_commit(t) == 0);
}

/* What the side shows under a name: false if nothing. */
static inline bool shown(struct side *s, const char *name, struct buf *ret)
{
	struct txn *t = db_begin(s->db);
	struct id node = node_of(s, t, name);
	struct node_info info = {0};
	struct manifest *m = NULL;
	bool there = db_node(t, &node, &info) == 0 && info.visible;
	int r = there ? db_read(t, &node, ret) : 0;

	if (there && info.chunked)
		CHECK(r == -EFBIG && db_manifest(t, &node, &m) == 0 && m->size == info.size);
	node_info_fini(&info);
	db_abort(t);
	buf_clear(ret);
	for (uint64_t at = 0; m && at < m->size; at += 131072)
		CHECK(db_chunks_read(s->db, m, at, 131072, ret) == 0);
	if (there && !m) {
		t = db_begin(s->db);
		CHECK(db_read(t, &node, ret) == 0);
		db_abort(t);
	}
	manifest_unref(m);
	return there;
}

static inline void check_shows(struct side *s, const char *name, const struct buf *expected)
{
	AUTO(buf_fini) struct buf is = {0};
	bool there = shown(s, name, &is);

	CHECK(there == (expected != NULL));
	CHECK(!expected || slice_eq(buf_slice(&is), buf_slice(expected)));
}

#endif
