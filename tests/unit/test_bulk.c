/* Content in chunks between cores: what travels, what is shown meanwhile, what is acknowledged. */
#include "tests/unit/bulk.h"

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

/* A small change in a large file is a small change: of the manifest, only the parts above the change are new. */
static void test_manifest_of_a_large_file_is_a_tree(void)
{
	AUTO(buf_fini) struct buf x = {0};
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

static struct chunk_id first_chunk(struct side *s, const char *name)
{
	struct txn *t = db_begin(s->db);
	struct id node = node_of(s, t, name);
	struct manifest *m = NULL;

	CHECK(db_manifest(t, &node, &m) == 0 && m->count > 0);
	struct chunk_id id = m->entries[0].id;
	db_abort(t);
	manifest_unref(m);
	return id;
}

static int next_type(struct sync_chunks *c, bool bulk)
{
	AUTO(buf_fini) struct buf m = {0};
	int r = bulk ? sync_chunks_next_bulk(c, &m) : sync_chunks_next(c, &m);

	return r == 1 ? m.data[0] : 0;
}

/* A chunk that comes after it was looked for, and before its lack is told: who asked is told to ask again. */
static void test_chunk_that_comes_meanwhile_is_told_of(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf sealed = {0};
	AUTO(buf_fini) struct buf ids = {0};
	struct side s[2];

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&bytes, 300000, 71);
	save(&s[0], "far", &bytes);
	struct line l = {.a = &s[0], .b = &s[1], .budget = 1};
	talk(&l); /* the change arrives, and none of its chunks */
	fill(&bytes, 300000, 72);
	save(&s[1], "near", &bytes);
	struct chunk_id far = first_chunk(&s[0], "far");
	struct chunk_id near = first_chunk(&s[1], "near");

	struct sync_chunks *c = sync_chunks_create(s[1].db, db_actor(s[0].db));
	buf_append(&ids, far.b, sizeof(far.b));
	buf_append(&ids, near.b, sizeof(near.b));
	struct reader r = reader_init(buf_slice(&ids));
	CHECK(sync_chunks_receive(c, SYNC_CHUNKS_WANT, &r) == 0);
	CHECK(next_type(c, true) == SYNC_CHUNKS_CHUNK);
	CHECK(db_chunks_send(s[0].db, &far, &sealed) == 0);
	CHECK(db_chunks_arrived(s[1].db, &far, buf_slice(&sealed)) >= 0);
	CHECK(next_type(c, false) == SYNC_CHUNKS_LACK);
	CHECK(next_type(c, false) == SYNC_CHUNKS_MORE);
	sync_chunks_destroy(c);
	part(s, 2);
	(void)printf("ok chunk_that_comes_meanwhile_is_told_of\n");
}

/* Random saves, meetings and cuts; then everybody shows the same. */
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
	test_manifest_of_a_large_file_is_a_tree();
	test_chunk_that_comes_meanwhile_is_told_of();
	for (unsigned i = 0; i < count; i++) {
		seed = 1000 + i;
		test_random();
	}
	(void)printf("ok random\n");
	AUTO(free_ptr) char *command = xasprintf("rm -r %s", base);
	CHECK(system(command) == 0);
	return 0;
}
