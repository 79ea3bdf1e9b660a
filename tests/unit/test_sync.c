/*
 * Cores without mounts or sockets: random edits on several databases, exchanged in random order through
 * core/sync, must end in the same tree everywhere (P3), with nothing lost that a delete did not see.
 */
#include "tests/unit/cores.h"

static void test_random(unsigned run)
{
	struct side sides[NODES_MAX];
	unsigned count = 2 + rnd(NODES_MAX - 1);
	char what[32];

	(void)snprintf(what, sizeof(what), "run %u", run);
	family(sides, count, run);
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < count; i++) {
			for (unsigned k = rnd(8); k > 0; k--)
				edit(&sides[i]);
		}
		unsigned a = rnd(count);
		unsigned b = rnd(count);
		if (a != b)
			(void)talk(&sides[a], &sides[b]);
		if (rnd(4) == 0) { /* a restart */
			db_close(sides[a].db);
			side_open(&sides[a]);
		}
	}
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 1; i < count; i++)
			(void)talk(&sides[0], &sides[i]);
	}
	expect_equal(sides, count, what);
	for (unsigned i = 0; i < count; i++) {
		if (!db_is_acked(sides[i].db)) {
			(void)fprintf(stderr, "run %u: side %u thinks it is behind\n", run, i);
			abort();
		}
		side_destroy(&sides[i]);
	}
}

/* ---- directories only: a few of them, moved into each other all the time ------------------------- */

/* Generation 0 of (parent, name): the same on every side. */
static struct id tree_id(const struct id *parent, const char *name)
{
	static const uint8_t tail[3] = {NODE_DIR, 0, 0};
	const struct slice parts[] = {SLICE(parent->b, sizeof(parent->b)), SLICE_STR(name),
				      SLICE(tail, sizeof(tail))};

	return digest_id("blaze node", parts, countof(parts));
}

static struct id some_dir(const struct id *top, unsigned dirs)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "d%u", rnd(dirs));
	return tree_id(top, name);
}

static void move_dirs(struct side *s, unsigned dirs, unsigned moves)
{
	struct id root = db_root(s->db);
	struct id top = tree_id(&root, "c");
	struct txn *t = db_begin(s->db);

	for (unsigned i = 0; i < moves; i++) {
		struct id node = some_dir(&top, dirs);
		struct id to = rnd(4) ? some_dir(&top, dirs) : top;
		char name[16];

		(void)snprintf(name, sizeof(name), "n%u", rnd(NAMES));
		if (rnd(3) == 0) { /* a change of several */
			assert(db_commit(t) == 0);
			t = db_begin(s->db);
		}
		int r = rnd(12) ? db_put_node(t, &node, NODE_DIR, &to, name) : db_delete(t, &node);
		assert(r == 0 || r == -ELOOP);
	}
	assert(db_commit(t) == 0);
}

static void test_moves(unsigned run)
{
	struct side sides[NODES_MAX];
	unsigned count = 2 + rnd(NODES_MAX - 1);
	unsigned dirs = 3 + rnd(12);
	char what[32];

	(void)snprintf(what, sizeof(what), "moves %u", run);
	family(sides, count, 500000 + run);
	struct txn *t = db_begin(sides[0].db);
	struct id root = db_root(sides[0].db);
	struct id top = tree_id(&root, "c");
	assert(db_put_node(t, &top, NODE_DIR, &root, "c") == 0);
	for (unsigned i = 0; i < dirs; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "d%u", i);
		struct id id = tree_id(&top, name);
		assert(db_put_node(t, &id, NODE_DIR, &top, name) == 0);
	}
	assert(db_commit(t) == 0);
	for (unsigned i = 1; i < count; i++)
		(void)talk(&sides[0], &sides[i]);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < count; i++)
			move_dirs(&sides[i], dirs, rnd(12));
		unsigned a = rnd(count);
		unsigned b = rnd(count);
		if (a != b)
			(void)talk(&sides[a], &sides[b]);
		if (rnd(4) == 0) {
			db_close(sides[b].db);
			side_open(&sides[b]);
		}
	}
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 1; i < count; i++)
			(void)talk(&sides[0], &sides[i]);
	}
	expect_equal(sides, count, what);
	for (unsigned i = 0; i < count; i++)
		side_destroy(&sides[i]);
}

static void test_in_sync_is_small(void)
{
	struct side sides[2];

	family(sides, 2, 900000);
	for (unsigned i = 0; i < 50; i++)
		edit(&sides[0]);
	(void)talk(&sides[0], &sides[1]);
	(void)talk(&sides[0], &sides[1]);
	size_t bytes = talk(&sides[0], &sides[1]);
	(void)printf("# in sync costs %zu bytes\n", bytes);
	expect_equal(sides, 2, "in sync");
	side_destroy(&sides[0]);
	side_destroy(&sides[1]);
}

static void save(struct side *s, const char *name, const char *text)
{
	struct id root = db_root(s->db);
	struct txn *t = db_begin(s->db);
	struct id id;

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, &root, name) >= 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR(text)) >= 0);
	assert(db_commit(t) == 0);
}

static uint32_t synced_count(struct side *s, const char *name)
{
	struct id root = db_root(s->db);
	struct txn *t = db_begin(s->db);
	struct id id;

	assert(db_child(t, &root, name, &id) == 0);
	uint32_t n = db_synced_count(t, &id);
	db_abort(t);
	return n;
}

/* The last change is the one with the highest id, whatever the clocks say. */
static void test_synced_count_is_of_the_last_change(void)
{
	struct side sides[3];

	family(sides, 3, 900001);
	clock_ms = 2000000;
	save(&sides[0], "r.txt", "one\n");
	for (unsigned i = 1; i < 3; i++)
		(void)talk(&sides[0], &sides[i]);
	clock_ms = 9000000;
	save(&sides[0], "r.txt", "one\ntwo\n");
	(void)talk(&sides[0], &sides[2]);
	assert(synced_count(&sides[0], "r.txt") == 1);
	clock_ms = 5000000;
	for (unsigned i = 0; i < 20; i++)
		save(&sides[1], "other.txt", i % 2 ? "x\n" : "y\n");
	save(&sides[1], "r.txt", "zero\none\n");
	(void)talk(&sides[0], &sides[1]);
	assert(synced_count(&sides[0], "r.txt") == 1); /* its author has it, the third has not */
	(void)talk(&sides[0], &sides[2]);
	assert(synced_count(&sides[0], "r.txt") == 2);
	clock_ms = 0;
	for (unsigned i = 0; i < 3; i++)
		side_destroy(&sides[i]);
}

int main(int argc, char **argv)
{
	unsigned runs = argc > 1 ? (unsigned)atoi(argv[1]) : 30;
	const char *tmp = getenv("TMPDIR");

	seed = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
	(void)snprintf(base, sizeof(base), "%s/blaze-sync-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	digest_init();
	test_in_sync_is_small();
	(void)printf("ok in sync is small\n");
	test_synced_count_is_of_the_last_change();
	(void)printf("ok the last change counts\n");
	for (unsigned run = 0; run < runs; run++) {
		test_random(run);
	}
	(void)printf("ok %u random histories converge\n", runs);
	for (unsigned run = 0; run < runs / 3; run++)
		test_moves(run);
	(void)printf("ok %u histories of moved directories converge\n", runs / 3);
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
