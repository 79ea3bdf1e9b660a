/*
 * A member gone bad: it holds the key, its signature is good, and it says what no program of ours would. Whatever
 * it sends, this device goes on, and other changes still apply.
 */
#include "core/db.h"
#include "core/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct villain {
	struct keys *keys;
	uint8_t root_key[32];
	struct id stream;
	uint8_t head[DIGEST_BYTES];
	uint64_t seq;
	uint64_t lamport;
};

static char base[256];
static struct keys *own_keys;
static struct db *db;

static void setup(struct villain *v)
{
	struct why why = {""};
	AUTO(buf_fini) struct buf welcome = {0};
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(free_ptr) char *key = xasprintf("%s/key", base);
	AUTO(free_ptr) char *bad = xasprintf("%s/bad", base);
	AUTO(free_ptr) char *dir = xasprintf("%s/db", base);

	assert(keys_create(key, "good", &own_keys, &why) == 0);
	assert(keys_create(bad, "bad", &v->keys, &why) == 0);
	assert(db_create(dir, "work", own_keys, &why) == 0);
	assert(db_open(dir, own_keys, NULL, &db, &why) == 0);
	keys_cert(v->keys, &cert);
	assert(db_admit(db, buf_slice(&cert), MEMBER_OWNER) == 0);
	db_welcome(db, &welcome);
	struct reader r = reader_init(buf_slice(&welcome));
	(void)reader_take(&r, 18);
	(void)reader_bytes(&r, 255);
	reader_copy(&r, v->root_key, sizeof(v->root_key));
	v->lamport = 10;
}

/* Seals the operations as the villain's next change and hands it over. */
static int send(struct villain *v, struct change *c)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf envelope = {0};
	uint64_t actor = keys_device(v->keys)->actor;
	struct envelope_place at = {.root_key = v->root_key, .stream = v->stream, .actor = actor};
	uint64_t last = 0;

	c->actor = actor;
	c->hlc = 1;
	change_encode(c, &bytes);
	struct slice slice = buf_slice(&bytes);
	memcpy(at.prev, v->head, sizeof(at.prev));
	envelope_seal(&at, v->keys, v->seq + 1, &slice, 1, &envelope);
	int r = db_apply_envelope(db, &v->stream, actor, buf_slice(&envelope), &last);
	if (r == 1) {
		v->seq++;
		envelope_hash(&at, buf_slice(&envelope), v->head);
	}
	change_fini(c);
	return r;
}

static void add_move(struct villain *v, struct change *c, const struct id *node,
		     const struct id *parent)
{
	struct op *op = ops_add(&c->ops, OP_MOVE, node, ++v->lamport);

	op->node_kind = NODE_RECORD;
	op->parent = *parent;
	op->name = SLICE_STR("x");
}

/* The device is as useful as before. */
static void expect_alive(const char *what)
{
	static unsigned count;
	struct id root = db_root(db);
	struct id id;
	AUTO(free_ptr) char *name = xasprintf("f%u.json", count++);
	struct txn *t = db_begin(db);

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, &root, name) == 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR("{\"a\": 1}\n")) == 1);
	assert(db_commit(t) == 0);
	assert(db_seal(db) == 0);
	(void)printf("ok %s\n", what);
}

static void test_lamport_that_would_use_up_the_clock(struct villain *v)
{
	struct change c = {0};
	struct id node = {{1}};

	(void)ops_add(&c.ops, OP_TOUCH, &node, (UINT64_C(1) << 62) - 1);
	assert(send(v, &c) == -EBADMSG);
	expect_alive("a lamport that would use up the clock is refused");
}

static void test_lamport_that_goes_back(struct villain *v)
{
	struct change first = {0};
	struct change again = {0};
	struct id node = {{1}};

	(void)ops_add(&first.ops, OP_TOUCH, &node, ++v->lamport);
	assert(send(v, &first) == 1);
	(void)ops_add(&again.ops, OP_TOUCH, &node, v->lamport);
	assert(send(v, &again) == -EBADMSG);
	expect_alive("an operation id is used once");
}

static void test_node_inside_itself(struct villain *v)
{
	struct change c = {0};
	struct id n = {{2}};
	struct id p = {{3}};
	struct id q = {{4}};

	add_move(v, &c, &n, &n);
	(void)ops_add(&c.ops, OP_TOUCH, &n, ++v->lamport);
	add_move(v, &c, &n, &p);
	add_move(v, &c, &n, &q);
	assert(send(v, &c) == 1);
	expect_alive("a record inside itself does no harm");
}

/* ---- directories, with ids that prove where they were made ---------------------------------------- */

static struct id made_id(const struct id *parent, const char *name, enum node_kind kind)
{
	const uint8_t tail[3] = {(uint8_t)kind, 0, 0};
	const struct slice parts[] = {SLICE(parent->b, sizeof(parent->b)), SLICE_STR(name),
				      SLICE(tail, sizeof(tail))};

	return digest_id("blaze node", parts, countof(parts));
}

/* The villain's feed of the collection `name`, which is made if it is not there. */
static struct id enter_collection(struct villain *v, const char *name)
{
	struct id root = db_root(db);
	struct id own = db_id(db);
	struct txn *t = db_begin(db);
	struct id top;

	(void)db_new_id(t, &root, name, NODE_DIR, 0, &top);
	assert(db_put_node(t, &top, NODE_DIR, &root, name) == 0);
	assert(db_commit(t) == 0);
	const struct slice parts[] = {SLICE(own.b, sizeof(own.b)), SLICE_STR("collection"),
				      SLICE(top.b, sizeof(top.b))};
	v->stream = digest_id("blaze stream id", parts, countof(parts));
	v->seq = 0;
	memset(v->head, 0, sizeof(v->head));
	return top;
}

static void add_dir_move(struct villain *v, struct change *c, const struct id *node,
			 const struct id *parent, const char *name)
{
	struct op *op = ops_add(&c->ops, OP_MOVE, node, ++v->lamport);

	op->node_kind = NODE_DIR;
	op->parent = *parent;
	op->name = SLICE_STR(name);
	(void)ops_add(&c->ops, OP_TOUCH, node, ++v->lamport);
}

struct walk {
	struct txn *t;
	unsigned count;
};

static void count_below(void *ctx, const struct node_info *n)
{
	struct walk *w = ctx;

	w->count++;
	assert(w->count < 100000); /* a cycle has no end */
	if (n->kind == NODE_DIR)
		(void)db_children(w->t, &n->id, count_below, w);
}

static unsigned below(const struct id *dir)
{
	struct walk w = {.t = db_begin(db)};

	assert(db_children(w.t, dir, count_below, &w) == 0);
	db_abort(w.t);
	return w.count;
}

static void test_directories_in_a_ring(struct villain *v)
{
	enum {
		RING = 50
	};
	struct id top = enter_collection(v, "ring");
	struct id dirs[RING];
	char names[RING][8];

	for (unsigned round = 0; round < 3; round++) { /* made, and turned twice */
		struct change c = {0};

		for (unsigned i = 0; i < RING; i++) {
			(void)snprintf(names[i], sizeof(names[i]), "d%u", i);
			dirs[i] = made_id(&top, names[i], NODE_DIR);
			add_dir_move(v, &c, &dirs[i], round ? &dirs[(i + round) % RING] : &top,
				     names[i]);
		}
		assert(send(v, &c) == 1);
		assert(below(&top) == RING);
	}
	/* And here, where the device's own moves are later than those to come. */
	struct txn *t = db_begin(db);
	for (unsigned i = 0; i < RING; i++) {
		int r = db_put_node(t, &dirs[i], NODE_DIR, &dirs[(i + 7) % RING], names[i]);

		assert(r == 0 || r == -ELOOP);
	}
	assert(db_commit(t) == 0);
	struct change late = {0};
	for (unsigned i = 0; i < RING; i++)
		add_dir_move(v, &late, &dirs[i], &dirs[(i * 7 + 3) % RING], names[i]);
	assert(send(v, &late) == 1);
	assert(below(&top) == RING);
	expect_alive("directories moved in rings hang from the collection");
}

static void test_child_before_its_parent(struct villain *v)
{
	struct id top = enter_collection(v, "early");
	struct id parent = made_id(&top, "p", NODE_DIR);
	struct id child = made_id(&parent, "c", NODE_DIR);
	struct id deep = made_id(&child, "x", NODE_DIR);
	struct change c = {0};

	add_dir_move(v, &c, &deep, &child, "x");
	add_dir_move(v, &c, &child, &parent, "c");
	assert(send(v, &c) == 1);
	assert(below(&top) == 0);
	struct change then = {0};
	add_dir_move(v, &then, &parent, &deep, "p"); /* its first place is inside itself, */
	assert(send(v, &then) == 1);
	assert(below(&top) == 0);
	struct change last = {0};
	add_dir_move(v, &last, &parent, &top, "p"); /* and this one is not */
	assert(send(v, &last) == 1);
	expect_alive("a child may come before its parent");
	(void)below(&top);
}

static void test_very_deep(struct villain *v)
{
	enum {
		DEPTH = 6000
	};
	struct id top = enter_collection(v, "deep");
	struct id first = made_id(&top, "d", NODE_DIR);
	struct id at = top;
	struct change c = {0};

	for (unsigned i = 0; i < DEPTH; i++) {
		struct id next = made_id(&at, "d", NODE_DIR);

		add_dir_move(v, &c, &next, &at, "d");
		at = next;
	}
	assert(send(v, &c) == 1);
	struct change into = {0};
	add_dir_move(v, &into, &first, &at, "d"); /* the top into the bottom */
	assert(send(v, &into) == 1);
	struct change gone = {0};
	struct op *op = ops_add(&gone.ops, OP_DELETE, &first, ++v->lamport);
	(void)ops_preds(&gone.ops, op, 0);
	assert(send(v, &gone) == 1);
	expect_alive("thousands of directories in each other");
}

static void test_operations_on_what_is_not_theirs(struct villain *v)
{
	struct id top = enter_collection(v, "kinds");
	struct id root = db_root(db);
	struct id dir = made_id(&top, "d", NODE_DIR);
	struct id record = made_id(&top, "r", NODE_RECORD);
	struct id inside = made_id(&record, "i", NODE_DIR);
	struct id unknown = {{42}};
	const struct id *nodes[] = {&root, &top, &dir, &record, &inside, &unknown};
	const enum op_kind kinds[] = {OP_TOUCH, OP_DELETE, OP_SET,  OP_UNSET, OP_RAW,
				      OP_UNRAW, OP_LAYOUT, OP_EXEC, OP_AUTH};
	struct change c = {0};

	add_dir_move(v, &c, &dir, &top, "d");
	add_move(v, &c, &record, &top);
	c.ops.items[c.ops.count - 1].name = SLICE_STR("r");
	(void)ops_add(&c.ops, OP_TOUCH, &record, ++v->lamport);
	add_dir_move(v, &c, &inside, &record, "i"); /* a record as a parent */
	add_dir_move(v, &c, &top, &dir, "ring");    /* the collection into itself */
	add_dir_move(v, &c, &root, &dir, "root");
	for (size_t n = 0; n < countof(nodes); n++) {
		for (size_t k = 0; k < countof(kinds); k++) {
			struct op *op = ops_add(&c.ops, kinds[k], nodes[n], ++v->lamport);
			struct opid *preds = ops_preds(&c.ops, op, 2);

			preds[0] = (struct opid){UINT64_C(1) << 61, 77};
			preds[1] = (struct opid){1, 1};
			op->value_kind = VALUE_TEXT;
			op->value = SLICE_STR("1");
			op->path = SLICE_STR("\x01"
					     "a");
		}
	}
	(void)send(v, &c);
	struct txn *t = db_begin(db);
	struct node_info info = {0};
	assert(db_node(t, &top, &info) == 0 && info.visible);
	node_info_fini(&info);
	db_abort(t);
	expect_alive("operations of all kinds on nodes of all kinds");
}

static void test_change_of_nothing(struct villain *v)
{
	struct change c = {0};

	assert(send(v, &c) == -EBADMSG);
	expect_alive("a change without operations is refused");
}

static void test_endless_streams(struct villain *v)
{
	int r = 1;

	for (unsigned i = 0; r == 1 && i < 2000; i++) {
		struct change c = {0};
		struct id node = {{5}};

		v->seq = 0;
		memset(v->head, 0, sizeof(v->head));
		v->stream = (struct id){{9, (uint8_t)(i >> 8), (uint8_t)i}};
		(void)ops_add(&c.ops, OP_TOUCH, &node, ++v->lamport);
		r = send(v, &c);
	}
	assert(r == -EBADMSG);
	expect_alive("a member's streams are counted");
}

static void test_forged_acknowledgement(void)
{
	struct feed_pos *have = NULL;
	size_t n = db_have(db, &have);

	for (size_t i = 0; i < n; i++)
		have[i].seq = UINT64_MAX >> 3;
	assert(db_set_acked(db, 12345, have, n) == 0);
	expect_alive("an acknowledgement of what was never made is ignored");
	free(have);
	assert(!db_is_acked(db));
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	struct villain v = {0};

	(void)snprintf(base, sizeof(base), "%s/blaze-hostile-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	digest_init();
	setup(&v);
	test_lamport_that_would_use_up_the_clock(&v);
	test_lamport_that_goes_back(&v);
	test_node_inside_itself(&v);
	test_change_of_nothing(&v);
	test_directories_in_a_ring(&v);
	test_child_before_its_parent(&v);
	test_very_deep(&v);
	test_operations_on_what_is_not_theirs(&v);
	test_endless_streams(&v);
	test_forged_acknowledgement();
	db_close(db);
	keys_destroy(v.keys);
	keys_destroy(own_keys);
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
