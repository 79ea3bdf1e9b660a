/*
 * Directories moved on two devices at the same time, without mounts or sockets.
 *
 *   moves bare COUNT		core/moves alone: COUNT moves, then COUNT that were made at the same time, in a tree
 *				of COUNT / 50 directories
 *   moves core DIRECTORY COUNT	two databases in DIRECTORY, each moves directories COUNT times, then both
 *				are exchanged: every other move a rename, the rest into another directory
 *
 * Prints one JSON line: milliseconds, and moves refused because they would have closed a cycle.
 */
#include "core/db.h"
#include "core/moves.h"
#include "core/sync.h"
#include "tests/bench/measure.h"

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "moves: %s: %s\n", what, strerror(-r));
	exit(1);
}

/* ---- bare ---------------------------------------------------------------------------------------- */

static struct id numbered(uint32_t n)
{
	struct id id = {{0}};

	memcpy(id.b, &n, sizeof(n));
	return id;
}

static void add_random(struct moves *m, uint64_t lamport, uint64_t actor, uint32_t nodes)
{
	struct id node = numbered(1 + rnd(nodes - 1));
	struct id parent = numbered(rnd(nodes));

	moves_add(m, (struct opid){lamport, actor}, &node, &parent);
}

static void count_skipped(void *ctx, const struct moves_place *p)
{
	*(uint64_t *)ctx += p->skipped;
}

static void bare(uint32_t count)
{
	struct moves *m = moves_create(1);
	uint32_t nodes = count / 50 + 2;
	uint64_t skipped = 0;

	for (uint32_t i = 1; i < nodes; i++) {
		struct id node = numbered(i);
		struct id parent = numbered(rnd(i));

		moves_add(m, (struct opid){i, 1}, &node, &parent);
	}
	for (uint32_t i = 0; i < count; i++)
		add_random(m, nodes + i, 1, nodes);
	uint64_t start = now_ns();
	moves_settle(m, count_skipped, &skipped);
	uint64_t own = now_ns();
	for (uint32_t i = 0; i < count; i++)
		add_random(m, nodes + i, 2, nodes);
	moves_settle(m, count_skipped, &skipped);
	uint64_t end = now_ns();
	(void)printf("{\"own_ms\": %.1f, \"merge_ms\": %.1f, \"nodes_with_skips\": %llu}\n",
		     (double)(own - start) / 1e6, (double)(end - own) / 1e6,
		     (unsigned long long)skipped);
	moves_destroy(m);
}

/* ---- core ---------------------------------------------------------------------------------------- */

struct side {
	struct keys *keys;
	struct db *db;
};

static void side_open(struct side *s, const char *dir, const struct side *founder)
{
	AUTO(free_ptr) char *path = xasprintf("%s/%s", dir, founder ? "b" : "a");
	AUTO(free_ptr) char *key = xasprintf("%s.key", path);
	AUTO(buf_fini) struct buf welcome = {0};
	AUTO(buf_fini) struct buf cert = {0};
	struct why why = {""};

	check(keys_create(key, founder ? "b" : "a", &s->keys, &why), key);
	if (founder) {
		db_welcome(founder->db, &welcome);
		check(db_join(path, s->keys, buf_slice(&welcome), &why), why.text);
		keys_cert(s->keys, &cert);
		check(db_admit(founder->db, buf_slice(&cert), MEMBER_OWNER), "admit");
	} else {
		check(db_create(path, "moves", s->keys, &why), why.text);
	}
	check(db_open(path, s->keys, NULL, &s->db, &why), why.text);
}

static void talk(struct side *a, struct side *b)
{
	struct sync_options oa = {.db = a->db, .peer = db_actor(b->db), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {.db = b->db, .peer = db_actor(a->db), .endpoint = "", .now_ms = 1};
	struct sync *sa = sync_create(&oa);
	struct sync *sb = sync_create(&ob);
	AUTO(buf_fini) struct buf m = {0};

	for (bool busy = true; busy;) {
		busy = false;
		while (sync_next(sa, &m) == 1) {
			check(sync_receive(sb, buf_slice(&m)), "receive");
			busy = true;
		}
		while (sync_next(sb, &m) == 1) {
			check(sync_receive(sa, buf_slice(&m)), "receive");
			busy = true;
		}
	}
	sync_destroy(sa);
	sync_destroy(sb);
}

static void make(struct side *s, const struct id *dirs, uint32_t count, const struct id *top)
{
	struct id root = db_root(s->db);
	struct txn *t = db_begin(s->db);

	check(db_put_node(t, top, NODE_DIR, &root, "c"), "mkdir");
	for (uint32_t i = 0; i < count; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "d%u", i);
		check(db_put_node(t, &dirs[i], NODE_DIR, top, name), "mkdir");
	}
	check(db_commit(t), "commit");
}

/* Each move is a change of its own, as mv makes them. */
static void move(struct side *s, const struct id *dirs, uint32_t count, uint32_t moves)
{
	for (uint32_t i = 0; i < moves; i++) {
		struct txn *t = db_begin(s->db);
		uint32_t n = rnd(count);
		struct node_info info;
		char name[32];

		check(db_node(t, &dirs[n], &info), "node");
		(void)snprintf(name, sizeof(name), "r%u", rnd(1u << 30));
		int r = db_put_node(t, &dirs[n], NODE_DIR, i % 2 ? &info.parent : &dirs[rnd(count)],
				    name);
		node_info_fini(&info);
		check(r == -ELOOP ? 0 : r, "move");
		check(db_commit(t), "commit");
	}
}

static void core(const char *dir, uint32_t moves)
{
	struct side a;
	struct side b;
	uint32_t count = moves / 5 + 2;
	AUTO(free_ptr) struct id *dirs = xcalloc(count, sizeof(*dirs));
	struct id top;

	digest_init();
	side_open(&a, dir, NULL);
	side_open(&b, dir, &a);
	struct id root = db_root(a.db);
	struct txn *t = db_begin(a.db);
	(void)db_new_id(t, &root, "c", NODE_DIR, 0, &top);
	for (uint32_t i = 0; i < count; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "d%u", i);
		(void)db_new_id(t, &top, name, NODE_DIR, 0, &dirs[i]);
	}
	db_abort(t);
	make(&a, dirs, count, &top);
	talk(&a, &b);
	uint64_t start = now_ns();
	move(&a, dirs, count, moves);
	uint64_t made = now_ns();
	move(&b, dirs, count, moves);
	check(db_seal(a.db), "seal");
	check(db_seal(b.db), "seal");
	uint64_t sealed = now_ns();
	talk(&a, &b);
	uint64_t end = now_ns();
	(void)printf("{\"make_ms\": %.0f, \"merge_ms\": %.0f}\n", (double)(made - start) / 1e6,
		     (double)(end - sealed) / 1e6);
	db_close(a.db);
	db_close(b.db);
	keys_destroy(a.keys);
	keys_destroy(b.keys);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "bare") == 0)
		bare((uint32_t)atoi(argv[2]));
	else if (argc == 4 && strcmp(argv[1], "core") == 0)
		core(argv[2], (uint32_t)atoi(argv[3]));
	else
		return 2;
	return 0;
}
