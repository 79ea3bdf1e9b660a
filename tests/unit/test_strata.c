/*
 * Compaction: whatever is folded, whenever, on whichever device, all devices show the same bytes and tell the
 * same history; who was away or is new gets everything.
 */
#include "core/history.h"
#include "core/compact.h"
#include "core/stratum.h"
#include "tests/unit/cores.h"

/* ---- strata by themselves ------------------------------------------------------------------------ */

static void random_change(struct buf *out, uint64_t actor, uint64_t *lamport, uint64_t *hlc)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct change c = {.actor = actor};
	unsigned ops = 1 + rnd(4);
	char text[32];

	*hlc += (uint64_t)rnd(5000) << 16 | rnd(2);
	*lamport += rnd(10) ? 0 : rnd(50);
	c.hlc = *hlc;
	for (unsigned i = 0; i < ops; i++) {
		struct id node = {{(uint8_t)rnd(20)}};
		struct op *op = ops_add(&c.ops, OP_TOUCH, &node, ++*lamport);

		if (rnd(3)) {
			struct opid *p = ops_preds(&c.ops, op, 1 + rnd(5) / 4);

			for (size_t k = 0; k < op->pred_count; k++)
				p[k] = (struct opid){.lamport = 1 + rnd(200),
						     .actor = rnd(3) ? actor : rnd(3) + 90};
		}
		if (rnd(3) == 0) {
			op->kind = OP_SET;
			op->path = SLICE_STR("\1a");
			op->value_kind = VALUE_TEXT;
			(void)snprintf(text, sizeof(text), "%u", rnd(1000));
			op->value = arena_copy(&c.ops.arena, SLICE_STR(text));
			op->has_place = rnd(2);
			op->place.waypoint = op->has_place ? 1 + rnd((unsigned)op->lamport) : 0;
			op->place.index = op->has_place ? (int64_t)rnd(9) - 4 : 0;
		} else if (rnd(3) == 0) {
			op->kind = OP_PLACE;
			op->path = SLICE_STR("\2a");
			op->has_place = true;
			op->place.waypoint = op->lamport;
		} else if (rnd(3) == 0) {
			op->kind = OP_MOVE;
			op->node_kind = NODE_RECORD;
			op->parent = (struct id){{(uint8_t)rnd(3)}};
			op->name = SLICE_STR("x.json");
		}
	}
	change_encode(&c, &bytes);
	buf_bytes(out, buf_slice(&bytes));
	change_fini(&c);
}

#define PARTS_MAX 40

/** A run of envelopes, as their author made them. */
struct run {
	struct envelope_place start;
	struct stratum s;
	struct stratum_part parts[PARTS_MAX];
	struct buf bodies[PARTS_MAX];
};

static void seal_part(struct run *r, const struct keys *keys, struct envelope_place *at, size_t i)
{
	AUTO(buf_fini) struct buf envelope = {0};
	struct stratum_part *p = &r->parts[i];
	struct slice slices[8];
	struct reader reader = reader_init(buf_slice(&r->bodies[i]));

	p->changes = buf_slice(&r->bodies[i]);
	for (uint64_t k = 0; k < p->count; k++)
		slices[k] = reader_bytes(&reader, r->bodies[i].len);
	envelope_seal(at, keys, r->s.seq_first + r->s.count, slices, (size_t)p->count, &envelope);
	envelope_hash(at, buf_slice(&envelope), at->prev);
	memcpy(p->hash, at->prev, sizeof(at->prev));
	memcpy(r->s.signature, envelope_signature(buf_slice(&envelope)), sizeof(r->s.signature));
	r->s.count += p->count;
}

static void make_run(struct run *r, const struct keys *keys, const uint8_t *root_key)
{
	uint64_t lamport = rnd(1000);
	uint64_t hlc = (uint64_t)rnd(100000) << 16;
	uint64_t actor = keys_device(keys)->actor;

	*r = (struct run){.start = {.root_key = root_key, .actor = actor}};
	r->s.seq_first = 1 + rnd(1000);
	r->s.part_count = 1 + rnd(PARTS_MAX);
	r->s.parts = r->parts;
	random_bytes(r->start.prev, sizeof(r->start.prev));
	struct envelope_place at = r->start;
	for (size_t i = 0; i < r->s.part_count; i++) {
		r->parts[i].count = 1 + rnd(8);
		for (uint64_t k = 0; k < r->parts[i].count; k++) {
			if (rnd(20))
				random_change(&r->bodies[i], actor, &lamport, &hlc);
			else
				buf_bytes(&r->bodies[i], SLICE_STR("no change at all"));
		}
		seal_part(r, keys, &at, i);
	}
}

static void expect_forgery_fails(struct run *r, const struct keys *keys, struct buf *packed)
{
	struct stratum bad = {0};

	/* One bit of anything, and nobody vouches for it. */
	packed->data[rnd((uint32_t)packed->len)] ^= (uint8_t)(1u << rnd(8));
	assert(stratum_open(&r->start, buf_slice(packed), &bad) < 0);
	/* Another member can pack whatever it likes, and not sign it. */
	r->parts[0].changes = SLICE_STR("\3abc");
	r->parts[0].count = 1;
	r->s.count = r->s.part_count = 1;
	buf_clear(packed);
	stratum_pack(&r->start, &r->s, packed);
	assert(stratum_open(&r->start, buf_slice(packed), &bad) == 0);
	assert(stratum_verify(&r->start, &bad, keys_device(keys)->sign_pk) == -EBADMSG);
	stratum_fini(&bad);
}

/* What is packed comes out again, whole, and vouched for by the last signature. */
static void test_round_trip(void)
{
	struct why why;
	struct keys *keys = NULL;
	AUTO(free_ptr) char *path = xasprintf("%s/stratum.key", base);
	uint8_t root_key[DIGEST_BYTES] = {1};

	assert(keys_create(path, "author", &keys, &why) == 0);
	for (unsigned n = 0; n < 200; n++) {
		struct run r;
		AUTO(buf_fini) struct buf packed = {0};
		AUTO(stratum_fini) struct stratum again = {0};

		make_run(&r, keys, root_key);
		stratum_pack(&r.start, &r.s, &packed);
		assert(stratum_open(&r.start, buf_slice(&packed), &again) == 0);
		assert(stratum_verify(&r.start, &again, keys_device(keys)->sign_pk) == 0);
		assert(again.part_count == r.s.part_count && again.seq_first == r.s.seq_first);
		for (size_t i = 0; i < r.s.part_count; i++) {
			assert(slice_eq(again.parts[i].changes, r.parts[i].changes));
			assert(memcmp(again.parts[i].hash, r.parts[i].hash, DIGEST_BYTES) == 0);
		}
		expect_forgery_fails(&r, keys, &packed);
		for (size_t i = 0; i < PARTS_MAX; i++)
			buf_fini(&r.bodies[i]);
	}
	keys_destroy(keys);
}

/* ---- the history of everything as text ------------------------------------------------------------ */

/* Every version, as its author left it. */
static void history_of(struct side *s, const struct id *node, struct buf *out)
{
	struct history *h = NULL;

	assert(history_open(s->db, node, &h) == 0);
	for (size_t i = 0; i < history_count(h); i++) {
		const struct history_change *c = history_at(h, i);
		struct history_state state;
		char rev[HISTORY_REV_BYTES];

		assert(!c->missing && history_after(h, i, HISTORY_CONTENT, &state) == 0);
		history_rev(c->rev, rev);
		buf_printf(out, "  %s %llu %s ", rev, (unsigned long long)c->time_ms,
			   buf_str(&state.name));
		buf_slice_append(out, buf_slice(&state.content));
		buf_u8(out, '\n');
		history_state_fini(&state);
	}
	history_close(h);
}

static void history_below(struct side *s, const struct id *dir, struct buf *out)
{
	struct txn *t = db_begin(s->db);
	struct listing l = {.t = t};

	assert(db_children(t, dir, collect, &l) == 0);
	db_abort(t);
	if (l.count)
		qsort(l.list, l.count, sizeof(*l.list), by_name);
	for (size_t i = 0; i < l.count; i++) {
		buf_printf(out, "%s\n", l.list[i].name);
		history_of(s, &l.list[i].id, out);
		if (l.list[i].kind == NODE_DIR)
			history_below(s, &l.list[i].id, out);
		node_info_fini(&l.list[i]);
	}
	free(l.list);
}

static void history_text(struct side *s, struct buf *out)
{
	struct id root = db_root(s->db);

	buf_clear(out);
	history_below(s, &root, out);
}

static void expect_same_history(struct side *sides, unsigned count, const char *what)
{
	AUTO(buf_fini) struct buf first = {0};
	AUTO(buf_fini) struct buf other = {0};

	history_text(&sides[0], &first);
	assert(!strstr(buf_str(&first), "not here"));
	for (unsigned i = 1; i < count; i++) {
		history_text(&sides[i], &other);
		if (!slice_eq(buf_slice(&first), buf_slice(&other))) {
			(void)fprintf(stderr, "%s: histories differ\n--- 0\n%s--- %u\n%s", what,
				      buf_str(&first), i, buf_str(&other));
			abort();
		}
	}
}

/* ---- random histories with compaction ------------------------------------------------------------- */

static unsigned compact_all(struct side *s)
{
	unsigned steps = 0;
	int r = 1;

	while (r == 1) {
		r = db_compact_step(s->db);
		steps++;
		assert(steps < 100000);
	}
	assert(r == 0);
	return steps;
}

/* Some steps only: what is half done must be as good. */
static void compact_some(struct side *s)
{
	assert(db_seal(s->db) == 0 && db_sync(s->db) == 0);
	for (unsigned n = rnd(12); n > 0 && db_compact_step(s->db) == 1; n--)
		;
}

static void reopen(struct side *s)
{
	db_close(s->db);
	side_open(s);
}

static void heal(struct side *sides, unsigned count)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 1; i < count; i++)
			(void)talk(&sides[0], &sides[i]);
	}
}

static uint64_t folded_of(struct side *s)
{
	struct compact_stats stats;

	assert(db_get_compact_stats(s->db, &stats) == 0);
	return stats.folded_count;
}

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static void random_rounds(struct side *sides, unsigned count, unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < count; i++) {
			for (unsigned k = rnd(10); k > 0; k--) {
				edit(&sides[i]);
				if (rnd(3) == 0)
					assert(db_seal(sides[i].db) == 0);
			}
		}
		unsigned a = rnd(count);
		unsigned b = rnd(count);
		if (a != b)
			(void)talk(&sides[a], &sides[b]);
		if (rnd(2))
			compact_some(&sides[rnd(count)]);
		if (rnd(4) == 0)
			reopen(&sides[a]);
	}
}

/*
 * The last device does not come for months. While it is waited for, nothing is folded; then it is; and then it
 * comes back, with what it wrote meanwhile. Returns how many changes were folded.
 */
static uint64_t test_random(unsigned run)
{
	struct side sides[NODES_MAX];
	unsigned count = 2 + rnd(NODES_MAX - 1);
	unsigned away = count - 1;
	char what[32];

	(void)snprintf(what, sizeof(what), "run %u", run);
	clock_ms = 1000 * DAY_MS;
	stratum_changes = 1 + rnd(12);
	family(sides, count, run);
	random_rounds(sides, count, rnd(6));
	heal(sides, count);
	random_rounds(sides, away, 4);
	for (unsigned i = 0; i < away; i++)
		compact_all(&sides[i]);
	uint64_t before = folded_of(&sides[0]);
	clock_ms += 89 * DAY_MS;
	heal(sides, away);
	compact_all(&sides[0]);
	struct compact_stats stats;
	assert(db_get_compact_stats(sides[0].db, &stats) == 0 && stats.silent_count == 0);
	clock_ms += 2 * DAY_MS;
	heal(sides, away);
	random_rounds(sides, away, 4);
	heal(sides, away);
	for (unsigned i = 0; i < away; i++)
		compact_all(&sides[i]);
	uint64_t folded = folded_of(&sides[0]);
	assert(folded >= before);
	assert(db_get_compact_stats(sides[0].db, &stats) == 0 && stats.silent_count == 1);
	expect_equal(sides, away, what);
	expect_same_history(sides, away, what);
	random_rounds(sides, away, 2);
	for (unsigned k = rnd(20); k > 0; k--)
		edit(&sides[away]);
	(void)talk(&sides[rnd(away)], &sides[away]);
	reopen(&sides[away]);
	compact_some(&sides[away]);
	heal(sides, count);
	expect_equal(sides, count, what);
	expect_same_history(sides, count, what);
	for (unsigned i = 0; i < count; i++)
		compact_all(&sides[i]);
	random_rounds(sides, count, 3);
	heal(sides, count);
	expect_equal(sides, count, what);
	for (unsigned i = 0; i < count; i++)
		side_destroy(&sides[i]);
	return folded;
}

/* A new device gets what is in strata, and passes it on. */
static void test_new_device(unsigned run)
{
	struct side sides[3];
	char what[32];

	(void)snprintf(what, sizeof(what), "new device %u", run);
	stratum_changes = 1 + rnd(12);
	family(sides, 2, run);
	for (unsigned i = 0; i < 4; i++) {
		random_rounds(sides, 2, 2);
		heal(sides, 2);
		compact_all(&sides[rnd(2)]);
	}
	side_create(&sides[2], run, 2);
	side_join(&sides[2], &sides[0]);
	(void)talk(&sides[0], &sides[2]);
	reopen(&sides[2]);
	(void)talk(&sides[0], &sides[2]);
	heal(sides, 2);
	expect_equal(sides, 3, what);
	expect_same_history(sides, 3, what);
	random_rounds(sides, 3, 3);
	heal(sides, 3);
	compact_all(&sides[2]);
	expect_equal(sides, 3, what);
	expect_same_history(sides, 3, what);
	for (unsigned i = 0; i < 3; i++)
		side_destroy(&sides[i]);
}

static size_t gaps_of(struct side *s)
{
	AUTO(free_ptr) struct snapshot_gap *gaps = NULL;

	return db_snapshot_gaps(s->db, &gaps);
}

/*
 * A new device takes a snapshot over connections that are cut, while it and the others go on; one member is
 * away all the time and has written something. Returns whether a snapshot was used.
 */
static unsigned resumed;

static bool test_snapshot(unsigned run)
{
	struct side sides[4];
	char what[32];
	bool used = false;

	(void)snprintf(what, sizeof(what), "snapshot %u", run);
	stratum_changes = 1 + rnd(12);
	family(sides, 3, run);
	random_rounds(sides, 3, rnd(4));
	heal(sides, 3);
	for (unsigned k = rnd(12); k > 0; k--)
		edit(&sides[2]);
	random_rounds(sides, 2, 3);
	compact_some(&sides[0]);
	side_create(&sides[3], run, 3);
	side_join(&sides[3], &sides[0]);
	heal(sides, 2);
	for (unsigned k = rnd(3) ? 0 : rnd(12); k > 0; k--) /* before it has heard of anything */
		edit(&sides[3]);
	for (unsigned cuts = rnd(6); cuts > 0; cuts--) {
		cut_after = 1 + rnd(20);
		(void)talk(&sides[rnd(2)], &sides[3]);
		used = used || gaps_of(&sides[3]) > 0;
		if (rnd(3) == 0)
			reopen(&sides[rnd(2) ? 0 : 3]);
		if (db_is_installing(
			    sides[3].db)) { /* half installed, or not begun: a restart goes on with it */
			reopen(&sides[3]);
			assert(db_is_installing(sides[3].db));
			resumed++;
		}
		if (rnd(3) == 0)
			edit(&sides[rnd(4)]);
		if (rnd(3) == 0)
			(void)db_snapshot_step(sides[3].db);
	}
	cut_after = rnd(2) ? 0 : 40;
	(void)talk(&sides[0], &sides[3]);
	used = used || gaps_of(&sides[3]) > 0;
	random_rounds(sides, 2, 1);
	heal(sides, 2);
	for (unsigned pass = 0; pass < 3; pass++) {
		(void)talk(&sides[3], &sides[1]);
		(void)talk(&sides[0], &sides[3]);
		(void)talk(&sides[2], &sides[pass ? 3 : 0]);
	}
	heal(sides, 4);
	expect_equal(sides, 4, what);
	assert(gaps_of(&sides[3]) == 0 && !db_is_doubtful(sides[3].db));
	expect_same_history(sides, 4, what);
	random_rounds(sides, 4, 3);
	heal(sides, 4);
	for (unsigned i = 0; i < 4; i++)
		compact_all(&sides[i]);
	expect_equal(sides, 4, what);
	expect_same_history(sides, 4, what);
	for (unsigned i = 0; i < 4; i++)
		side_destroy(&sides[i]);
	return used;
}

/* A save under a name that both have, each knowing nothing of the other. */
static void save_shared(struct side *s, const char *text)
{
	struct id root = db_root(s->db);
	struct txn *t = db_begin(s->db);
	struct id dir;
	struct id id;

	(void)db_new_id(t, &root, "d", NODE_DIR, 0, &dir);
	(void)db_new_id(t, &dir, "f.json", NODE_RECORD, 0, &id);
	assert(db_put_node(t, &dir, NODE_DIR, &root, "d") >= 0);
	assert(db_put_node(t, &id, NODE_RECORD, &dir, "f.json") >= 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR(text)) >= 0);
	assert(db_commit(t) == 0);
}

static void take_snapshot(struct side *from, struct side *to)
{
	AUTO(buf_fini) struct buf cursor = {0};
	struct id id = {{0}};
	int more = 1;

	assert(db_snapshot_offer(from->db, &id) == 1);
	for (uint64_t i = 1; more; i++) {
		AUTO(buf_fini) struct buf piece = {0};

		more = db_snapshot_piece(from->db, &id, i, &cursor, &piece);
		assert(more >= 0);
		assert(db_snapshot_receive(to->db, db_actor(from->db), &id, buf_slice(&piece)) ==
		       !more);
	}
	while ((more = db_snapshot_step(to->db)) == 1)
		;
	assert(more == 0);
}

/*
 * What a device did before a snapshot came is done again in the order it was done in, whatever its clock said: one
 * that was an hour fast, and is set right.
 */
static void test_clock_set_back(unsigned run)
{
	struct side sides[2];

	stratum_changes = 1;
	clock_ms = UINT64_C(1700003600000);
	family(sides, 2, run);
	save_shared(&sides[0], "[{\"id\": 9}, {\"id\": 8}]\n");
	save_shared(&sides[1], "[{\"id\": 1}]\n");
	save_shared(&sides[1], "[{\"id\": 1}, {\"id\": 2}]\n");
	clock_ms = UINT64_C(1700000000000);
	save_shared(&sides[1], "[{\"id\": 1}, {\"id\": 2}, {\"id\": 3}]\n");
	save_shared(&sides[1], "[{\"id\": 1, \"v\": 1}, {\"id\": 2}, {\"id\": 3}]\n");
	take_snapshot(&sides[0], &sides[1]);
	heal(sides, 2);
	expect_equal(sides, 2, "a clock that was set back");
	expect_same_history(sides, 2, "a clock that was set back");
	clock_ms = 0;
	for (unsigned i = 0; i < 2; i++)
		side_destroy(&sides[i]);
}

int main(int argc, char **argv)
{
	unsigned runs = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
	const char *tmp = getenv("TMPDIR");
	uint64_t folded = 0;

	seed = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
	(void)snprintf(base, sizeof(base), "%s/blaze-strata-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	digest_init();
	test_round_trip();
	(void)printf("ok strata give back what was packed\n");
	for (unsigned run = 0; run < runs; run++)
		folded += test_random(run);
	for (unsigned run = 0; run < runs / 2; run++)
		test_new_device(100000 + run);
	unsigned snapshots = 0;
	for (unsigned run = 0; run < runs; run++)
		snapshots += test_snapshot(200000 + run);
	assert(snapshots > runs / 8);
	(void)printf("ok new devices begin with a snapshot, %u of %u seen, %u resumed\n", snapshots,
		     runs, resumed);
	test_clock_set_back(300000);
	(void)printf("ok own changes are done again in their order when a snapshot comes\n");
	assert(folded > runs);
	(void)printf("ok %u random histories converge, %llu changes folded\n", runs,
		     (unsigned long long)folded);
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
