/*
 * Cores without mounts or sockets: several databases in one process, edited at random and exchanged in random
 * order through core/sync, with a clock that a test may move. Shared by the unit tests that need them.
 */
#ifndef BLAZE_TESTS_UNIT_CORES_H
#define BLAZE_TESTS_UNIT_CORES_H

#include "core/db.h"
#include "core/snapshot.h"
#include "core/sync.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NODES_MAX 4
#define NAMES 6

static uint64_t seed;

static inline uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/** 0 = the system's clock. */
static uint64_t clock_ms;
/** Of db_env. */
static uint64_t stratum_changes;
/** Messages after which the next connection is cut; 0 = it is not. */
static unsigned cut_after;

static inline uint64_t test_now(void *ctx)
{
	struct timespec now;

	(void)ctx;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	return clock_ms ? clock_ms++ : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct side {
	char dir[512];
	struct keys *keys;
	struct db *db;
};

static char base[256];

static inline void side_open(struct side *s)
{
	struct why why = {""};
	const struct db_env env = {.now_ms = test_now, .stratum_changes = stratum_changes};

	if (db_open(s->dir, s->keys, &env, &s->db, &why) != 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
}

static inline void side_create(struct side *s, unsigned run, unsigned index)
{
	struct why why;
	AUTO(free_ptr) char *key = xasprintf("%s/key%u.%u", base, run, index);
	char name[16];

	(void)snprintf(name, sizeof(name), "dev%u", index);
	(void)snprintf(s->dir, sizeof(s->dir), "%s/db%u.%u", base, run, index);
	assert(keys_create(key, name, &s->keys, &why) == 0);
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* Its ballast alone is 16 MiB. */
static inline void side_destroy(struct side *s)
{
	AUTO(free_ptr)
	char *rm = xasprintf("rm -rf '%s'", s->dir); /* its ballast alone is 16 MiB */

	db_close(s->db);
	keys_destroy(s->keys);
	assert(system(rm) == 0);
}

static inline void side_join(struct side *s, struct side *at)
{
	struct why why;
	AUTO(buf_fini) struct buf welcome = {0};
	AUTO(buf_fini) struct buf cert = {0};

	db_welcome(at->db, &welcome);
	assert(db_join(s->dir, s->keys, buf_slice(&welcome), &why) == 0);
	side_open(s);
	keys_cert(s->keys, &cert);
	assert(db_admit(at->db, buf_slice(&cert), MEMBER_OWNER) == 0);
}

/* Founder, then members who are welcomed and admitted by it. */
static inline void family(struct side *sides, unsigned count, unsigned run)
{
	struct why why;

	for (unsigned i = 0; i < count; i++)
		side_create(&sides[i], run, i);
	assert(db_create(sides[0].dir, "work", sides[0].keys, &why) == 0);
	side_open(&sides[0]);
	for (unsigned i = 1; i < count; i++) {
		side_join(&sides[i], &sides[0]);
	}
}

/** One connection. */
struct wire {
	struct sync *from[2];
	size_t bytes;
	size_t messages;
	unsigned cut_after;
};

/* One message from one side to the other; false when there is none, or the wire is cut. */
static inline bool pass(struct wire *w, unsigned from)
{
	AUTO(buf_fini) struct buf m = {0};

	if ((w->cut_after && w->messages >= w->cut_after) || sync_next(w->from[from], &m) != 1)
		return false;
	w->bytes += m.len;
	w->messages++;
	assert(sync_receive(w->from[!from], buf_slice(&m)) == 0);
	return true;
}

static inline void converse(struct wire *w, struct side *a, struct side *b)
{
	bool busy = true;

	for (unsigned rounds = 0; busy; rounds++) {
		assert(rounds < 100000);
		busy = false;
		for (bool more = true; more && rnd(4);) {
			more = pass(w, 0);
			busy = busy || more;
		}
		while (pass(w, 1))
			busy = true;
		busy = busy ||
		       ((db_is_installing(a->db) || db_is_installing(b->db)) && !w->cut_after);
		if (!busy) {
			assert(db_sync(a->db) == 0 && db_sync(b->db) == 0);
			busy = pass(w, 0);
			busy = pass(w, 1) || busy;
		}
	}
}

/* Lets two sides talk until both have nothing to say, or the wire is cut. Returns bytes exchanged. */
static inline size_t talk(struct side *a, struct side *b)
{
	struct sync_options oa = {.db = a->db, .peer = db_actor(b->db), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {.db = b->db, .peer = db_actor(a->db), .endpoint = "", .now_ms = 1};
	struct sync *sa = sync_create(&oa);
	struct sync *sb = sync_create(&ob);
	struct wire w = {.from = {sa, sb}, .cut_after = cut_after};

	cut_after = 0;
	converse(&w, a, b);
	size_t bytes = w.bytes;
	struct sync_info ia;
	struct sync_info ib;
	sync_get_info(sa, &ia);
	sync_get_info(sb, &ib);
	/* P7: said as soon as it is true, unless one has not heard yet that the other is a member. */
	struct device d;
	bool strangers = db_member(a->db, db_actor(b->db), &d) != 0 ||
			 db_member(b->db, db_actor(a->db), &d) != 0;
	assert(strangers || w.cut_after || (ia.in_sync && ib.in_sync));
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

static inline void collect(void *ctx, const struct node_info *n)
{
	struct listing *l = ctx;

	l->list = xreallocarray(l->list, l->count + 1, sizeof(*l->list));
	l->list[l->count] = *n;
	l->list[l->count++].name = xstrdup(n->name);
}

static inline int by_name(const void *a, const void *b)
{
	return strcmp(((const struct node_info *)a)->name, ((const struct node_info *)b)->name);
}

static inline void dump(struct txn *t, const struct id *dir, unsigned depth, struct buf *out)
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

static inline void tree_text(struct side *s, struct buf *out)
{
	struct id root = db_root(s->db);
	struct txn *t = db_begin(s->db);

	buf_clear(out);
	dump(t, &root, 0, out);
	db_abort(t);
}

static inline void expect_equal(struct side *sides, unsigned count, const char *what)
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

static inline bool pick_dir(struct txn *t, const struct id *root, struct id *ret)
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

static inline bool pick_child(struct txn *t, const struct id *dir, struct node_info *ret)
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

static inline int create_something(struct txn *t, const struct id *dir)
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

static inline void edit(struct side *s)
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

#endif
