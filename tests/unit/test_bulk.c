/* Content in chunks between cores: what travels, what is shown meanwhile, what is acknowledged. */
#include "core/import.h"
#include "core/sync.h"
#include "core/sync_chunks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(x)                                                                      \
	do {                                                                          \
		if (!(x)) {                                                           \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			exit(1);                                                      \
		}                                                                     \
	} while (0)

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

static void side_open(struct side *s)
{
	struct why why = {""};

	if (db_open(s->dir, s->keys, NULL, &s->db, &why) != 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
}

static void family(struct side *sides, unsigned count)
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
		CHECK(db_admit(sides[0].db, buf_slice(&cert)) == 0);
	}
}

static void part(struct side *sides, unsigned count)
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

static bool carry(struct line *l, struct sync *to, struct buf *m)
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

static void talk(struct line *l)
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

static struct line meet(struct side *a, struct side *b)
{
	struct line l = {.a = a, .b = b};

	talk(&l);
	return l;
}

/* ---- files --------------------------------------------------------------------------------------- */

static void fill(struct buf *b, size_t len, uint64_t from)
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

static struct id node_of(const struct side *s, struct txn *t, const char *name)
{
	struct id root = db_root(s->db);
	struct id id;

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	return id;
}

static void save_from(struct side *s, const char *name, const struct buf *bytes,
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
	import_destroy(im);
	struct txn *t = db_begin(s->db);
	struct id root = db_root(s->db);
	struct id node = node_of(s, t, name);
	CHECK(db_put_node(t, &node, NODE_RECORD, &root, name) == 0);
	CHECK(db_put_chunks(t, &node, read, buf_slice(&manifest)) >= 0);
	CHECK(db_commit(t) == 0);
}

static void save(struct side *s, const char *name, const struct buf *bytes)
{
	save_from(s, name, bytes, NULL);
}

static void save_plain(struct side *s, const char *name, const char *text)
{
	struct txn *t = db_begin(s->db);
	struct id root = db_root(s->db);
	struct id node = node_of(s, t, name);

	CHECK(db_put_node(t, &node, NODE_RECORD, &root, name) == 0);
	CHECK(db_put_content(t, &node, NULL, SLICE_STR(text)) >= 0);
	CHECK(db_commit(t) == 0);
}

/* What the side shows under a name: false if nothing. */
static bool shown(struct side *s, const char *name, struct buf *ret)
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

static void check_shows(struct side *s, const char *name, const struct buf *expected)
{
	AUTO(buf_fini) struct buf is = {0};
	bool there = shown(s, name, &is);

	CHECK(there == (expected != NULL));
	CHECK(!expected || slice_eq(buf_slice(&is), buf_slice(expected)));
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_only_what_is_missing_travels(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf longer = {0};
	struct side s[2];

	family(s, 2);
	fill(&bytes, 5 * MIB, 1);
	save(&s[0], "film", &bytes);
	struct line l = meet(&s[0], &s[1]);
	CHECK(l.chunk_bytes >= bytes.len && l.bytes < bytes.len + bytes.len / 50);
	check_shows(&s[1], "film", &bytes);
	CHECK(db_is_acked(s[0].db));

	buf_u8(&longer, '!');
	buf_slice_append(&longer, buf_slice(&bytes));
	save(&s[1], "film", &longer);
	l = meet(&s[0], &s[1]);
	CHECK(l.bytes < 300000);
	check_shows(&s[0], "film", &longer);

	save(&s[0], "copy", &longer);
	l = meet(&s[0], &s[1]);
	CHECK(l.chunk_bytes == 0 && l.bytes < 20000);
	check_shows(&s[1], "copy", &longer);

	buf_clear(&bytes);
	buf_resize(&bytes, 30 * MIB);
	save(&s[0], "zeros", &bytes);
	l = meet(&s[0], &s[1]);
	CHECK(l.chunk_bytes == 0);
	check_shows(&s[1], "zeros", &bytes);
	part(s, 2);
	(void)printf("ok only_what_is_missing_travels\n");
}

static void test_cut_and_resumed(void)
{
	AUTO(buf_fini) struct buf first = {0};
	AUTO(buf_fini) struct buf bytes = {0};
	struct side s[2];
	size_t total = 0;

	family(s, 2);
	fill(&first, 2 * MIB, 7);
	save(&s[0], "f", &first);
	(void)meet(&s[0], &s[1]);
	fill(&bytes, 6 * MIB, 8);
	save(&s[0], "f", &bytes);
	save(&s[0], "g", &bytes);
	unsigned cuts = 0;
	for (; !db_is_acked(s[0].db); cuts++) {
		struct line l = {.a = &s[0], .b = &s[1], .budget = MIB};

		CHECK(cuts < 20);
		/* Whole and old, or not there; and nobody is told otherwise. */
		check_shows(&s[1], "f", &first);
		check_shows(&s[1], "g", NULL);
		talk(&l);
		total += l.chunk_bytes;
		if (cuts % 2) {
			db_close(s[1].db);
			side_open(&s[1]);
		}
	}
	CHECK(cuts >= 4 && total < bytes.len + 20 * 200000); /* a cut costs what was on its way */
	check_shows(&s[1], "f", &bytes);
	check_shows(&s[1], "g", &bytes);
	part(s, 2);
	(void)printf("ok cut_and_resumed\n");
}

static void test_through_a_third(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct side s[3];

	family(s, 3);
	(void)meet(&s[0], &s[1]);
	(void)meet(&s[1], &s[2]);
	fill(&bytes, 4 * MIB, 3);
	save(&s[0], "f", &bytes);
	struct line l = {.a = &s[0], .b = &s[1], .budget = 2 * MIB};
	talk(&l);
	/* The one in the middle has a part: gives it, and then the rest. */
	l = meet(&s[1], &s[2]);
	CHECK(l.chunk_bytes > MIB && l.chunk_bytes < 3 * MIB);
	check_shows(&s[2], "f", NULL);
	(void)meet(&s[0], &s[1]);
	check_shows(&s[1], "f", &bytes);
	CHECK(db_peer_behind(s[0].db, db_actor(s[1].db)) == 0);
	CHECK(db_peer_behind(s[0].db, db_actor(s[2].db)) == 1);
	l = meet(&s[1], &s[2]);
	CHECK(l.chunk_bytes < 3 * MIB);
	check_shows(&s[2], "f", &bytes);
	(void)meet(&s[0], &s[1]);
	CHECK(db_is_acked(s[0].db));
	part(s, 3);
	(void)printf("ok through_a_third\n");
}

struct loser {
	struct db *db;
	struct buf bytes;
	unsigned count;
};

static void take_loser(void *ctx, const struct db_loser *l)
{
	struct loser *all = ctx;
	struct manifest *m = NULL;

	all->count++;
	buf_clear(&all->bytes);
	if (!l->chunked) {
		buf_slice_append(&all->bytes, l->value);
		return;
	}
	CHECK(l->whole && db_manifest_decode(all->db, l->value, &m) == 0);
	CHECK(db_chunks_read(all->db, m, 0, (size_t)m->size, &all->bytes) == 0);
	manifest_unref(m);
}

static void test_concurrent_writes(void)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf y = {0};
	struct side s[2];

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&x, 3 * MIB, 11);
	fill(&y, 3 * MIB, 12);
	save(&s[0], "f", &x);
	save(&s[1], "f", &y);
	(void)meet(&s[0], &s[1]);
	for (unsigned i = 0; i < 2; i++) {
		AUTO(buf_fini) struct buf is = {0};
		struct loser l = {.db = s[i].db};
		struct txn *t = db_begin(s[i].db);
		struct id node = node_of(&s[i], t, "f");

		db_abort(t);
		CHECK(shown(&s[i], "f", &is));
		bool x_won = slice_eq(buf_slice(&is), buf_slice(&x));
		CHECK(x_won || slice_eq(buf_slice(&is), buf_slice(&y)));
		CHECK(db_losers(s[i].db, &node, take_loser, &l) == 0 && l.count == 1);
		CHECK(slice_eq(buf_slice(&l.bytes), buf_slice(x_won ? &y : &x)));
		buf_fini(&l.bytes);
	}
	part(s, 2);
	(void)printf("ok concurrent_writes\n");
}

/* A save made while a version is on its way saw the old one: both are kept. */
static void test_saved_while_waiting(void)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf text = {0};
	struct side s[2];

	family(s, 2);
	save_plain(&s[0], "f", "the first");
	(void)meet(&s[0], &s[1]);
	fill(&x, 3 * MIB, 21);
	save(&s[0], "f", &x);
	save(&s[0], "g", &x);
	struct line l = {.a = &s[0], .b = &s[1], .budget = MIB};
	talk(&l);
	buf_printf(&text, "the first");
	check_shows(&s[1], "f", &text);
	save_plain(&s[1], "f", "mine");
	save_plain(&s[1], "g", "mine, too");
	buf_clear(&text);
	buf_printf(&text, "mine");
	check_shows(&s[1], "f", &text);
	db_close(s[1].db);
	side_open(&s[1]);
	check_shows(&s[1], "f", &text);
	(void)meet(&s[0], &s[1]);
	for (unsigned i = 0; i < 2; i++) {
		struct txn *t = db_begin(s[i].db);
		const struct id nodes[] = {node_of(&s[i], t, "f"), node_of(&s[i], t, "g")};

		db_abort(t);
		check_shows(&s[i], "f", &text);
		for (unsigned k = 0; k < 2; k++) {
			struct loser lost = {.db = s[i].db};

			CHECK(db_losers(s[i].db, &nodes[k], take_loser, &lost) == 0 &&
			      lost.count == 1);
			CHECK(slice_eq(buf_slice(&lost.bytes), buf_slice(&x)));
			buf_fini(&lost.bytes);
		}
	}
	part(s, 2);
	(void)printf("ok saved_while_waiting\n");
}

static void test_forged(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct side s[3];
	struct db_missing missing;

	family(s, 3);
	(void)meet(&s[0], &s[1]);
	(void)meet(&s[0], &s[2]);
	fill(&bytes, 2 * MIB, 31);
	save(&s[0], "f", &bytes);
	(void)meet(&s[0], &s[2]);
	struct line l = {.a = &s[0], .b = &s[1], .forge = true};
	talk(&l);
	check_shows(&s[1], "f", NULL);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.file_count == 1 && missing.byte_count == bytes.len && missing.bad_count > 0);
	CHECK(!db_is_acked(s[0].db));
	(void)meet(&s[2], &s[1]);
	check_shows(&s[1], "f", &bytes);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.file_count == 0 && missing.byte_count == 0);
	part(s, 3);
	(void)printf("ok forged\n");
}

/* A chunk that nobody asked for ends the connection, and is not kept. */
static void test_unasked(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf m = {0};
	AUTO(buf_fini) struct buf chunk = {0};
	struct side s[2];

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&bytes, MIB, 41);
	save(&s[0], "f", &bytes);
	struct txn *t = db_begin(s[0].db);
	struct id node = node_of(&s[0], t, "f");
	struct manifest *manifest = NULL;
	CHECK(db_manifest(t, &node, &manifest) == 0);
	db_abort(t);
	struct sync_options o = {
		.db = s[1].db, .peer = db_actor(s[0].db), .endpoint = "", .now_ms = 1};
	struct sync *engine = sync_create(&o);
	struct sync_options other = {
		.db = s[0].db, .peer = db_actor(s[1].db), .endpoint = "", .now_ms = 1};
	struct sync *hello = sync_create(&other);
	CHECK(sync_next(hello, &m) == 1 && sync_receive(engine, buf_slice(&m)) == 0);
	buf_u8(&chunk, SYNC_CHUNKS_CHUNK);
	buf_append(&chunk, manifest->entries[0].id.b, CHUNK_ID_BYTES);
	CHECK(db_chunks_send(s[0].db, &manifest->entries[0].id, &chunk) == 0);
	CHECK(sync_receive(engine, buf_slice(&chunk)) == -EPROTO);
	CHECK(db_chunks_send(s[1].db, &manifest->entries[0].id, &m) == -ENOENT);
	/* More questions than may be open. */
	buf_clear(&m);
	buf_u8(&m, SYNC_CHUNKS_WANT);
	buf_resize(&m, 1 + (SYNC_CHUNKS_ASKED_MAX + 1) * CHUNK_ID_BYTES);
	CHECK(sync_receive(engine, buf_slice(&m)) == -EPROTO);
	sync_destroy(engine);
	sync_destroy(hello);
	manifest_unref(manifest);
	part(s, 2);
	(void)printf("ok unasked\n");
}

/* A version that was replaced before it was fetched is not fetched, and is known not to be here. */
static void test_replaced_version_is_not_fetched(void)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf y = {0};
	AUTO(buf_fini) struct buf old = {0};
	struct side s[2];
	bool chunked = false;

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&x, 2 * MIB, 51);
	fill(&y, 3 * MIB, 52);
	save(&s[0], "f", &x);
	struct txn *t = db_begin(s[0].db);
	struct id node = node_of(&s[0], t, "f");
	CHECK(db_shown(t, &node, &old, &chunked) == 0 && chunked);
	db_abort(t);
	save(&s[0], "f", &y);
	struct line l = meet(&s[0], &s[1]);
	CHECK(l.chunk_bytes < 4 * MIB && db_is_acked(s[0].db));
	check_shows(&s[1], "f", &y);
	CHECK(db_chunks_are_here(s[0].db, buf_slice(&old)));
	CHECK(!db_chunks_are_here(s[1].db, buf_slice(&old)));
	part(s, 2);
	(void)printf("ok replaced_version_is_not_fetched\n");
}

/* Random saves, meetings and cuts; then everybody shows the same. */
/* A small change in a large file is a small change: of the manifest, only the parts above the change are new. */
static void test_manifest_of_a_large_file_is_a_tree(void)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf is = {0};
	struct side s[2];

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&x, 48 * MIB, 61);
	save(&s[0], "f", &x);
	struct line whole = meet(&s[0], &s[1]);
	CHECK(whole.chunk_bytes > 48 * MIB && db_is_acked(s[0].db));
	check_shows(&s[1], "f", &x);
	x.data[20 * MIB] ^= 1;
	save(&s[0], "f", &x);
	struct line l = meet(&s[0], &s[1]);
	size_t beside = l.bytes - l.chunk_bytes;
	(void)printf("# a byte in 48 MiB: %zu bytes in chunks, %zu beside them\n", l.chunk_bytes,
		     beside);
	CHECK(beside < 4000 && l.chunk_bytes < 300000 && db_is_acked(s[0].db));
	check_shows(&s[1], "f", &x);
	part(s, 2);
	(void)printf("ok manifest_of_a_large_file_is_a_tree\n");
}

/* Flips a bit of every chunk in the packs of a device. */
static void rot(const struct side *s)
{
	AUTO(free_ptr) char *path = xasprintf("%s/chunks/00000001", s->dir);
	int fd = open(path, O_RDWR);
	uint8_t b = 0;

	CHECK(fd >= 0);
	for (off_t at = 1000; pread(fd, &b, 1, at) == 1; at += 8000) {
		b ^= 4;
		CHECK(pwrite(fd, &b, 1, at) == 1);
	}
	(void)close(fd);
}

static void test_damaged_chunks_are_fetched_again(void)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf is = {0};
	struct side s[2];
	struct db_missing missing;

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&x, 2 * MIB, 71);
	save(&s[0], "f", &x);
	(void)meet(&s[0], &s[1]);
	check_shows(&s[1], "f", &x);
	rot(&s[1]);
	struct txn *t = db_begin(s[1].db);
	struct id node = node_of(&s[1], t, "f");
	struct manifest *m = NULL;
	(void)db_manifest(t, &node, &m);
	db_abort(t);
	if (m)
		CHECK(db_chunks_read(s[1].db, m, 0, MIB, &is) == -EIO);
	manifest_unref(m);
	CHECK(db_chunks_are_due(s[1].db) && db_chunks_flush(s[1].db) == 0);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.damaged_count > 0 && missing.file_count == 0);
	/* It is known after a restart, too. */
	db_close(s[1].db);
	side_open(&s[1]);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.damaged_count > 0);
	for (unsigned round = 0; round < 100 && missing.damaged_count; round++) {
		(void)meet(&s[0], &s[1]);
		t = db_begin(s[1].db);
		int r = db_manifest(t, &node, &m);
		db_abort(t);
		buf_clear(&is);
		for (uint64_t at = 0; r == 0 && at < m->size; at += 4000) /* finds more */
			(void)db_chunks_read(s[1].db, m, at, 1, &is);
		if (r == 0)
			manifest_unref(m);
		CHECK(db_chunks_flush(s[1].db) == 0);
		db_get_missing(s[1].db, &missing);
	}
	CHECK(missing.damaged_count == 0);
	check_shows(&s[1], "f", &x);
	db_close(s[1].db);
	side_open(&s[1]);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.damaged_count == 0);
	check_shows(&s[1], "f", &x);
	part(s, 2);
	(void)printf("ok damaged_chunks_are_fetched_again\n");
}

static void test_random(void)
{
	static const char *const names[] = {"a", "b", "c"};
	struct buf bases[3] = {{0}};
	struct side s[3];

	family(s, 3);
	for (unsigned i = 0; i < 3; i++)
		fill(&bases[i], MIB, 100 + i);
	for (unsigned step = 0; step < 60; step++) {
		struct side *one = &s[rnd(3)];
		struct side *other = &s[rnd(3)];
		struct buf *bytes = &bases[rnd(3)];

		switch (rnd(4)) {
		case 0:
			save_plain(one, names[rnd(3)], rnd(2) ? "short" : "other");
			break;
		case 1:
			bytes->data[rnd((uint32_t)bytes->len)] ^= 1;
			save(one, names[rnd(3)], bytes);
			break;
		default:
			if (one != other) {
				struct line l = {.a = one, .b = other, .budget = rnd(2) * MIB / 2};
				talk(&l);
			}
			break;
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		(void)meet(&s[0], &s[1]);
		(void)meet(&s[1], &s[2]);
	}
	for (unsigned k = 0; k < countof(names); k++) {
		AUTO(buf_fini) struct buf first = {0};
		bool there = shown(&s[0], names[k], &first);

		check_shows(&s[1], names[k], there ? &first : NULL);
		check_shows(&s[2], names[k], there ? &first : NULL);
	}
	for (unsigned i = 0; i < 3; i++) {
		CHECK(db_is_acked(s[i].db));
		buf_fini(&bases[i]);
	}
	part(s, 3);
}

int main(void)
{
	const char *env = getenv("BLAZE_RANDOM_SEEDS");
	unsigned count = env ? (unsigned)strtoul(env, NULL, 10) : 8;

	(void)snprintf(base, sizeof(base), "/tmp/blaze-test-bulk-XXXXXX");
	CHECK(mkdtemp(base));
	digest_init();
	test_only_what_is_missing_travels();
	test_cut_and_resumed();
	test_through_a_third();
	test_concurrent_writes();
	test_saved_while_waiting();
	test_forged();
	test_unasked();
	test_replaced_version_is_not_fetched();
	for (unsigned i = 0; i < count; i++) {
		seed = 1000 + i;
		test_manifest_of_a_large_file_is_a_tree();
		test_damaged_chunks_are_fetched_again();
		test_random();
	}
	(void)printf("ok random\n");
	AUTO(free_ptr) char *command = xasprintf("rm -r %s", base);
	CHECK(system(command) == 0);
	return 0;
}
