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
	assert(db_admit(db, buf_slice(&cert)) == 0);
	db_welcome(db, &welcome);
	struct reader r = reader_init(buf_slice(&welcome));
	(void)reader_take(&r, 17);
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
	test_endless_streams(&v);
	test_forged_acknowledgement();
	db_close(db);
	keys_destroy(v.keys);
	keys_destroy(own_keys);
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
