/*
 * Cores without mounts or sockets: random edits on several databases, exchanged in random order through
 * core/sync, must end in the same tree everywhere (P3), with nothing lost that a delete did not see.
 */
#include "core/db.h"
#include "core/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES_MAX 4
#define NAMES 6

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

struct side {
	char dir[512];
	struct keys *keys;
	struct db *db;
};

static char base[256];

static void side_open(struct side *s)
{
	struct why why = {""};

	if (db_open(s->dir, s->keys, NULL, &s->db, &why) != 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
}

static void side_create(struct side *s, unsigned run, unsigned index)
{
	struct why why;
	AUTO(free_ptr) char *key = xasprintf("%s/key%u.%u", base, run, index);
	char name[16];

	(void)snprintf(name, sizeof(name), "dev%u", index);
	(void)snprintf(s->dir, sizeof(s->dir), "%s/db%u.%u", base, run, index);
	assert(keys_create(key, name, &s->keys, &why) == 0);
}

static void side_destroy(struct side *s)
{
	db_close(s->db);
	keys_destroy(s->keys);
}

/* Founder, then members who are welcomed and admitted by it. */
static void family(struct side *sides, unsigned count, unsigned run)
{
	struct why why;

	for (unsigned i = 0; i < count; i++)
		side_create(&sides[i], run, i);
	assert(db_create(sides[0].dir, "work", sides[0].keys, &why) == 0);
	side_open(&sides[0]);
	for (unsigned i = 1; i < count; i++) {
		AUTO(buf_fini) struct buf welcome = {0};
		AUTO(buf_fini) struct buf cert = {0};

		db_welcome(sides[0].db, &welcome);
		assert(db_join(sides[i].dir, sides[i].keys, buf_slice(&welcome), &why) == 0);
		side_open(&sides[i]);
		keys_cert(sides[i].keys, &cert);
		assert(db_admit(sides[0].db, buf_slice(&cert)) == 0);
	}
}

/* Lets two sides talk until both have nothing to say. Returns bytes exchanged. */
static size_t talk(struct side *a, struct side *b)
{
	struct sync_options oa = {.db = a->db, .peer = db_actor(b->db), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {.db = b->db, .peer = db_actor(a->db), .endpoint = "", .now_ms = 1};
	struct sync *sa = sync_create(&oa);
	struct sync *sb = sync_create(&ob);
	AUTO(buf_fini) struct buf m = {0};
	size_t bytes = 0;
	bool busy = true;

	for (unsigned rounds = 0; busy; rounds++) {
		assert(rounds < 100000);
		busy = false;
		while (sync_next(sa, &m) == 1 && rnd(4)) {
			bytes += m.len;
			assert(sync_receive(sb, buf_slice(&m)) == 0);
			busy = true;
			buf_clear(&m);
		}
		if (m.len) {
			assert(sync_receive(sb, buf_slice(&m)) == 0);
			busy = true;
		}
		while (sync_next(sb, &m) == 1) {
			bytes += m.len;
			assert(sync_receive(sa, buf_slice(&m)) == 0);
			busy = true;
		}
		if (!busy) {
			assert(db_sync(a->db) == 0 && db_sync(b->db) == 0);
			busy = sync_next(sa, &m) == 1;
			if (busy)
				assert(sync_receive(sb, buf_slice(&m)) == 0);
			if (sync_next(sb, &m) == 1) {
				assert(sync_receive(sa, buf_slice(&m)) == 0);
				busy = true;
			}
		}
	}
	struct sync_info ia;
	struct sync_info ib;
	sync_get_info(sa, &ia);
	sync_get_info(sb, &ib);
	/* P7: said as soon as it is true, unless one has not heard yet that the other is a member. */
	struct device d;
	bool strangers = db_member(a->db, db_actor(b->db), &d) != 0 ||
			 db_member(b->db, db_actor(a->db), &d) != 0;
	assert(strangers || (ia.in_sync && ib.in_sync));
	sync_destroy(sa);
	sync_destroy(sb);
	return bytes;
}

/* ---- the tree as text ---------------------------------------------------------------------------- */

struct listing {
	struct txn *t;
	struct node_info *list;
	size_t count;
};

static void collect(void *ctx, const struct node_info *n)
{
	struct listing *l = ctx;

	l->list = xreallocarray(l->list, l->count + 1, sizeof(*l->list));
	l->list[l->count] = *n;
	l->list[l->count++].name = xstrdup(n->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct node_info *)a)->name, ((const struct node_info *)b)->name);
}

static void dump(struct txn *t, const struct id *dir, unsigned depth, struct buf *out)
{
	struct listing l = {.t = t};

	assert(depth < 64);
	assert(db_children(t, dir, collect, &l) == 0);
	if (l.count)
		qsort(l.list, l.count, sizeof(*l.list), by_name);
	for (size_t i = 1; i < l.count; i++)
		assert(strcmp(l.list[i - 1].name, l.list[i].name) != 0);
	for (size_t i = 0; i < l.count; i++) {
		AUTO(buf_fini) struct buf content = {0};

		buf_printf(out, "%*s%s x%d c%u ", (int)depth, "", l.list[i].name, l.list[i].exec,
			   l.list[i].conflicts);
		if (l.list[i].kind != NODE_DIR && db_read(t, &l.list[i].id, &content) == 0) {
			assert(content.len == l.list[i].size);
			buf_slice_append(out, buf_slice(&content));
		}
		buf_u8(out, '\n');
		if (l.list[i].kind == NODE_DIR)
			dump(t, &l.list[i].id, depth + 1, out);
		node_info_fini(&l.list[i]);
	}
	free(l.list);
}

static void tree_text(struct side *s, struct buf *out)
{
	struct id root = db_root(s->db);
	struct txn *t = db_begin(s->db);

	buf_clear(out);
	dump(t, &root, 0, out);
	db_abort(t);
}

static void expect_equal(struct side *sides, unsigned count, const char *what)
{
	AUTO(buf_fini) struct buf first = {0};
	AUTO(buf_fini) struct buf other = {0};

	tree_text(&sides[0], &first);
	for (unsigned i = 1; i < count; i++) {
		tree_text(&sides[i], &other);
		if (!slice_eq(buf_slice(&first), buf_slice(&other))) {
			(void)fprintf(stderr, "%s: differ\n--- 0\n%s--- %u\n%s", what,
				      buf_str(&first), i, buf_str(&other));
			abort();
		}
	}
}

/* ---- random edits -------------------------------------------------------------------------------- */

static bool pick_dir(struct txn *t, const struct id *root, struct id *ret)
{
	*ret = *root;
	for (unsigned depth = rnd(4); depth > 0; depth--) {
		struct listing l = {.t = t};
		size_t dirs = 0;

		assert(db_children(t, ret, collect, &l) == 0);
		for (size_t i = 0; i < l.count; i++) {
			if (l.list[i].kind == NODE_DIR && rnd((uint32_t)++dirs) == 0)
				*ret = l.list[i].id;
		}
		for (size_t i = 0; i < l.count; i++)
			node_info_fini(&l.list[i]);
		free(l.list);
	}
	return true;
}

static bool pick_child(struct txn *t, const struct id *dir, struct node_info *ret)
{
	struct listing l = {.t = t};

	assert(db_children(t, dir, collect, &l) == 0);
	size_t pick = l.count ? rnd((uint32_t)l.count) : 0;
	for (size_t i = 0; i < l.count; i++) {
		if (i == pick)
			*ret = l.list[i];
		else
			node_info_fini(&l.list[i]);
	}
	free(l.list);
	return l.count > 0;
}

static int create_something(struct txn *t, const struct id *dir)
{
	char name[16];
	char text[96];
	struct id id;
	bool is_dir = rnd(3) == 0;

	(void)snprintf(name, sizeof(name),
		       is_dir	? "d%u"
		       : rnd(2) ? "f%u.json"
				: "f%u.txt",
		       rnd(NAMES));
	enum node_kind kind = is_dir ? NODE_DIR : NODE_RECORD;
	(void)db_new_id(t, dir, name, kind, 0, &id);
	int r = db_put_node(t, &id, kind, dir, name);
	(void)snprintf(text, sizeof(text), "{\"a\": %u, \"b\": {\"c\": %u}}\n", rnd(5), rnd(5));
	if (r == 0 && !is_dir)
		r = db_put_content(t, &id, NULL, SLICE_STR(rnd(8) ? text : "{broken"));
	return r;
}

static void edit(struct side *s)
{
	struct id root = db_root(s->db);
	struct txn *t = db_begin(s->db);
	struct node_info n = {0};
	struct id dir;
	struct id other;
	char text[96];
	char name[16];
	int r = 0;

	(void)pick_dir(t, &root, &dir);
	unsigned what = rnd(10);
	if (what < 3 || !pick_child(t, &dir, &n)) {
		r = create_something(t, &dir);
	} else if (what < 6 && n.kind == NODE_RECORD) {
		(void)snprintf(text, sizeof(text), "{\"a\": %u, \"b\": {\"c\": %u}, \"k%u\": 1}\n",
			       rnd(5), rnd(5), rnd(3));
		r = db_put_content(t, &n.id, NULL, SLICE_STR(text));
	} else if (what < 7) {
		r = db_delete(t, &n.id);
	} else if (what < 8 && n.kind == NODE_RECORD) {
		r = db_put_exec(t, &n.id, rnd(2));
	} else {
		(void)pick_dir(t, &root, &other);
		(void)snprintf(name, sizeof(name), n.kind == NODE_DIR ? "d%u" : "f%u.json",
			       rnd(NAMES));
		if (db_same_stream(t, &n.id, &other))
			r = db_put_node(t, &n.id, n.kind, &other, name);
	}
	node_info_fini(&n);
	assert(r >= 0 || r == -ELOOP || r == -EXDEV);
	assert(db_commit(t) == 0);
}

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

int main(int argc, char **argv)
{
	unsigned runs = argc > 1 ? (unsigned)atoi(argv[1]) : 60;
	const char *tmp = getenv("TMPDIR");

	seed = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
	(void)snprintf(base, sizeof(base), "%s/blaze-sync-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	digest_init();
	test_in_sync_is_small();
	(void)printf("ok in sync is small\n");
	for (unsigned run = 0; run < runs; run++) {
		test_random(run);
	}
	(void)printf("ok %u random histories converge\n", runs);
	for (unsigned run = 0; run < runs; run++)
		test_moves(run);
	(void)printf("ok %u histories of moved directories converge\n", runs);
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
