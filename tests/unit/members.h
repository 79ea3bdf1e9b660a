/*
 * Databases of several devices in one process, for tests about who is a member. Cores talk to each other here whether or not
 * anybody would let them connect: what a removed device gets to others by whatever way has to come to nothing.
 */
#ifndef BLAZE_TESTS_UNIT_MEMBERS_H
#define BLAZE_TESTS_UNIT_MEMBERS_H

#include "tests/unit/cores.h"

#include "core/db_i.h"
#include "core/petition.h"

enum {
	A,
	B,
	C,
	D
};

static unsigned runs;

/* Lets two say all they have, for as long as they have something; no promise that they agree. */
static inline void speak(struct side *a, struct side *b)
{
	struct sync_options oa = {.db = a->db, .peer = db_actor(b->db), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {.db = b->db, .peer = db_actor(a->db), .endpoint = "", .now_ms = 1};
	struct wire w = {.from = {sync_create(&oa), sync_create(&ob)}};
	unsigned quiet = 0;

	for (unsigned rounds = 0; quiet < 3; rounds++) {
		bool busy = false;

		assert(rounds < 10000);
		while (pass(&w, 0))
			busy = true;
		while (pass(&w, 1))
			busy = true;
		quiet = busy ? 0 : quiet + 1;
		assert(db_sync(a->db) == 0 && db_sync(b->db) == 0);
	}
	sync_destroy(w.from[0]);
	sync_destroy(w.from[1]);
}

static inline void speak_all(struct side *sides, const unsigned *who, size_t count)
{
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < count; i++) {
			for (size_t k = i + 1; k < count; k++)
				speak(&sides[who[i]], &sides[who[k]]);
		}
	}
}

static inline void write_file(struct side *s, const char *name, const char *text)
{
	struct id root = db_root(s->db);
	struct id id;
	struct txn *t = db_begin(s->db);

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, &root, name) == 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR(text)) >= 0);
	assert(db_commit(t) == 0);
}

static inline bool has_file(struct side *s, const char *name, const char *text)
{
	AUTO(buf_fini) struct buf content = {0};
	struct id root = db_root(s->db);
	struct id id;
	struct txn *t = db_begin(s->db);
	bool there = db_child(t, &root, name, &id) == 0 && db_read(t, &id, &content) == 0 &&
		     slice_eq(buf_slice(&content), SLICE_STR(text));

	db_abort(t);
	return there;
}

static inline bool is_member(struct side *s, struct side *of)
{
	AUTO(free_ptr) struct device *peers = NULL;
	size_t n = db_peers(of->db, &peers);

	for (size_t i = 0; i < n; i++) {
		if (peers[i].actor == db_actor(s->db))
			return true;
	}
	return false;
}

static inline void remove_from(struct side *at, struct side *whom)
{
	struct why why = {""};

	if (db_remove_member(at->db, db_actor(whom->db), &why) < 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
}

static inline void begin(struct side *sides, unsigned count)
{
	const unsigned all[] = {A, B, C, D};

	memset(sides, 0, count * sizeof(*sides));
	family(sides, count, runs++);
	speak_all(sides, all, count);
}

static inline void end(struct side *sides, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		side_destroy(&sides[i]);
}

/* The same bytes, the same members, the same epoch. */
static inline void expect_same(struct side *sides, const unsigned *who, size_t count,
			       const char *what)
{
	struct side list[4] = {0};

	for (size_t i = 0; i < count; i++) {
		struct id first = epoch_newest(sides[who[0]].db);
		struct id here = epoch_newest(sides[who[i]].db);

		list[i] = sides[who[i]];
		assert(id_eq(&first, &here));
		assert(sides[who[i]].db->auth_count == sides[who[0]].db->auth_count);
	}
	expect_equal(list, (unsigned)count, what);
}

/* Puts an operation into its own feed, whatever it is. */
static inline void say_operation(struct side *at, const struct auth_op *op)
{
	struct txn *t = db_begin(at->db);

	member_do(t, op);
	assert(db_commit(t) == 0);
}

static inline void say_member(struct side *at, struct side *whom)
{
	AUTO(buf_fini) struct buf cert = {0};

	keys_cert(whom->keys, &cert);
	say_operation(at, &(struct auth_op){.kind = AUTH_MEMBER,
					    .cert = buf_slice(&cert),
					    .role = MEMBER_OWNER});
}

static struct account account;

static inline void begin_of_account(struct side *sides, unsigned count)
{
	const unsigned all[] = {A, B, C, D};
	AUTO(buf_fini) struct buf text = {0};
	struct why why;

	account_text(account.pk, &text);
	memset(sides, 0, count * sizeof(*sides));
	for (unsigned i = 0; i < count; i++)
		side_create(&sides[i], runs, i);
	assert(db_create_for(sides[A].dir, "work", sides[A].keys, buf_str(&text), &why) == 0);
	side_open(&sides[A]);
	for (unsigned i = 1; i < count; i++)
		side_join(&sides[i], &sides[A]);
	runs++;
	speak_all(sides, all, count);
}

static inline void begin_with_account(struct side *sides, unsigned count)
{
	account_create(&account);
	begin_of_account(sides, count);
}

static inline int remove_with_words(struct side *at, struct side *whom, uint64_t keep,
				    const struct account *words)
{
	AUTO(buf_fini) struct buf petition = {0};
	AUTO(buf_fini) struct buf done = {0};
	struct why why = {""};
	int r = petition_remove(at->db, db_actor(whom->db), keep, &petition, &why);

	assert(r < 0 || petition_sign(words, buf_slice(&petition), &done) == 0);
	return r < 0 ? r : petition_carry_out(at->db, buf_slice(&done));
}

static inline int give_role(struct side *at, struct side *to, enum member_role role)
{
	struct why why = {""};

	return db_set_role(at->db, db_actor(to->db), role, &why);
}

static inline int try_write(struct side *s, const char *name, const char *text)
{
	struct id root = db_root(s->db);
	struct id id;
	struct txn *t = db_begin(s->db);

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, &root, name) == 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR(text)) >= 0);
	return db_commit(t);
}

#endif
