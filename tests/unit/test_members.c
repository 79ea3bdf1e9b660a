/*
 * Members: who may do what, removals, epochs. Cores talk to each other here whether or not anybody would let them
 * connect: what a removed device gets to others by whatever way has to come to nothing.
 */
#include "tests/unit/cores.h"

#include "core/compact.h"
#include "core/db_i.h"
#include "core/petition.h"

enum {
	A,
	B,
	C,
	D
};

static unsigned runs;
static unsigned random_runs = 25;

/* Lets two say all they have, for as long as they have something; no promise that they agree. */
static void speak(struct side *a, struct side *b)
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

static void speak_all(struct side *sides, const unsigned *who, size_t count)
{
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < count; i++) {
			for (size_t k = i + 1; k < count; k++)
				speak(&sides[who[i]], &sides[who[k]]);
		}
	}
}

static void write_file(struct side *s, const char *name, const char *text)
{
	struct id root = db_root(s->db);
	struct id id;
	struct txn *t = db_begin(s->db);

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, &root, name) == 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR(text)) >= 0);
	assert(db_commit(t) == 0);
}

static bool has_file(struct side *s, const char *name, const char *text)
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

static bool is_member(struct side *s, struct side *of)
{
	AUTO(free_ptr) struct device *peers = NULL;
	size_t n = db_peers(of->db, &peers);

	for (size_t i = 0; i < n; i++) {
		if (peers[i].actor == db_actor(s->db))
			return true;
	}
	return false;
}

static void remove_from(struct side *at, struct side *whom)
{
	struct why why = {""};

	if (db_remove_member(at->db, db_actor(whom->db), &why) < 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
}

static void begin(struct side *sides, unsigned count)
{
	const unsigned all[] = {A, B, C, D};

	memset(sides, 0, count * sizeof(*sides));
	family(sides, count, runs++);
	speak_all(sides, all, count);
}

static void end(struct side *sides, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		side_destroy(&sides[i]);
}

/* The same bytes, the same members, the same epoch. */
static void expect_same(struct side *sides, const unsigned *who, size_t count, const char *what)
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
static void say_operation(struct side *at, const struct auth_op *op)
{
	struct txn *t = db_begin(at->db);

	member_do(t, op);
	assert(db_commit(t) == 0);
}

/* ---- removal -------------------------------------------------------------------------------- */

static void test_removed_device_is_not_accepted(void)
{
	const unsigned both[] = {A, B};
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "before.json", "{\"n\":1}");
	speak(&s[C], &s[A]);
	speak(&s[A], &s[B]);
	remove_from(&s[A], &s[C]);
	assert(!is_member(&s[C], &s[A]) && is_member(&s[B], &s[A]));

	/* It does not know, or pretends not to, and writes on; its clock says yesterday. */
	clock_ms = 1700000000000;
	write_file(&s[C], "after.json", "{\"n\":2}");
	write_file(&s[C], "before.json", "{\"n\":666}");
	clock_ms = 0;
	speak(&s[C], &s[A]);
	speak(&s[A], &s[B]);
	speak(&s[C], &s[B]); /* who has heard of it from A */
	speak_all(s, both, 2);
	for (size_t i = 0; i < 2; i++) {
		assert(has_file(&s[i], "before.json", "{\"n\":1}"));
		assert(!has_file(&s[i], "after.json", "{\"n\":2}"));
		assert(!is_member(&s[C], &s[i]));
	}
	assert(db_is_removed(s[C].db) && !db_is_removed(s[B].db));
	expect_same(s, both, 2, "without the removed device");
	assert(db_is_acked(s[A].db)); /* nobody waits for it */
	end(s, 3);
}

static void test_removed_device_cannot_read_on(void)
{
	struct side s[3];

	begin(s, 3);
	struct id before = epoch_newest(s[A].db);
	remove_from(&s[A], &s[C]);
	struct id after = epoch_newest(s[A].db);
	assert(!id_eq(&before, &after));
	speak(&s[A], &s[B]);
	struct id there = epoch_newest(s[B].db);
	assert(id_eq(&after, &there));

	/* All that A and B write from now on, handed to it on a plate. */
	write_file(&s[A], "secret.json", "{\"a\":1}");
	write_file(&s[B], "secret2.json", "{\"b\":1}");
	speak(&s[A], &s[B]);
	speak(&s[B], &s[C]);
	speak(&s[A], &s[C]);
	assert(has_file(&s[A], "secret2.json", "{\"b\":1}"));
	assert(!has_file(&s[C], "secret.json", "{\"a\":1}"));
	assert(!has_file(&s[C], "secret2.json", "{\"b\":1}"));
	struct id removed = epoch_newest(s[C].db);
	assert(id_eq(&before, &removed));
	end(s, 3);
}

/* The epoch survives a restart, and strata do not mix two of them. */
static void test_epochs_are_kept(void)
{
	const unsigned both[] = {A, B};
	struct side s[4];

	stratum_changes = 8;
	begin(s, 4);
	for (unsigned i = 0; i < 20; i++)
		write_file(&s[A], "one.json", i % 2 ? "{\"n\":1}" : "{\"n\":2}");
	speak(&s[A], &s[B]);
	remove_from(&s[A], &s[C]);
	for (unsigned i = 0; i < 21; i++)
		write_file(&s[A], "one.json", i % 2 ? "{\"n\":3}" : "{\"n\":4}");
	speak_all(s, both, 2);
	db_close(s[B].db);
	side_open(&s[B]);
	struct id here = epoch_newest(s[A].db);
	struct id there = epoch_newest(s[B].db);
	assert(id_eq(&here, &there));
	for (unsigned i = 0; i < 40 && db_compact_step(s[A].db) > 0; i++)
		;
	write_file(&s[B], "two.json", "{\"n\":5}");
	speak_all(s, both, 2);
	expect_same(s, both, 2, "after a restart");

	/* Who joins now gets all epochs, and the strata of both. */
	struct side late = {0};
	side_create(&late, runs++, 9);
	side_join(&late, &s[A]);
	speak(&s[A], &late);
	speak(&s[A], &late);
	assert(has_file(&late, "one.json", "{\"n\":4}") && has_file(&late, "two.json", "{\"n\":5}"));
	side_destroy(&late);
	end(s, 4);
	stratum_changes = 0;
}

/* ---- what is concurrent --------------------------------------------------------------------- */

/* B has more of C than A knew when it removed C: that stays, everywhere. What C writes later does not. */
static void test_witness(void)
{
	const unsigned both[] = {A, B};
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "seen.json", "{\"n\":1}");
	speak(&s[C], &s[B]);
	write_file(&s[B], "seen.json", "{\"n\":1,\"built\":\"on it\"}");
	remove_from(&s[A], &s[C]);
	write_file(&s[C], "unseen.json", "{\"n\":2}");
	speak_all(s, both, 2);
	speak(&s[C], &s[A]);
	speak(&s[C], &s[B]);
	speak_all(s, both, 2);
	for (size_t i = 0; i < 2; i++) {
		assert(has_file(&s[i], "seen.json", "{\"n\":1,\"built\":\"on it\"}"));
		assert(!has_file(&s[i], "unseen.json", "{\"n\":2}"));
	}
	expect_same(s, both, 2, "with what was witnessed");
	end(s, 3);
}

/* A removes C while B removes D: each new epoch was given to one too many, so they are joined. */
static void test_two_removals_at_once(void)
{
	const unsigned both[] = {A, B};
	struct side s[4];

	begin(s, 4);
	remove_from(&s[A], &s[C]);
	remove_from(&s[B], &s[D]);
	speak_all(s, both, 2);
	assert(!is_member(&s[C], &s[B]) && !is_member(&s[D], &s[A]));
	write_file(&s[A], "joint.json", "{\"a\":1}");
	write_file(&s[B], "joint2.json", "{\"b\":1}");
	speak_all(s, both, 2);
	expect_same(s, both, 2, "after two removals");
	speak(&s[A], &s[C]);
	speak(&s[A], &s[D]);
	speak(&s[B], &s[C]);
	speak(&s[B], &s[D]);
	for (size_t i = C; i <= D; i++) {
		assert(!has_file(&s[i], "joint.json", "{\"a\":1}"));
		assert(!has_file(&s[i], "joint2.json", "{\"b\":1}"));
	}
	end(s, 4);
}

/* Two that remove each other: the senior stays, on both and on whoever hears of it in whatever order. */
static void test_duel(void)
{
	for (unsigned order = 0; order < 2; order++) {
		struct side s[3];

		begin(s, 3);
		remove_from(&s[A], &s[B]);
		remove_from(&s[B], &s[A]);
		speak(&s[order ? A : B], &s[C]);
		speak(&s[order ? B : A], &s[C]);
		speak(&s[A], &s[C]);
		assert(is_member(&s[A], &s[C]) && !is_member(&s[B], &s[C]));
		write_file(&s[A], "stays.json", "{\"n\":1}");
		speak(&s[A], &s[C]);
		assert(has_file(&s[C], "stays.json", "{\"n\":1}"));
		speak(&s[A], &s[B]);
		assert(db_is_removed(s[B].db) && !db_is_removed(s[A].db));
		end(s, 3);
	}
}

/* D is admitted by B, who has not heard yet that A began an epoch: somebody gives it the key. */
static void test_admitted_meanwhile(void)
{
	const unsigned left[] = {A, B, 3};
	struct side s[4] = {0};

	family(s, 3, runs++);
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	remove_from(&s[A], &s[C]);
	side_create(&s[D], runs++, D);
	side_join(&s[D], &s[B]);
	speak(&s[B], &s[D]);
	speak(&s[A], &s[B]);
	speak_all(s, left, 3);
	write_file(&s[A], "for all.json", "{\"n\":1}");
	speak_all(s, left, 3);
	assert(has_file(&s[D], "for all.json", "{\"n\":1}"));
	expect_same(s, left, 3, "with who was admitted meanwhile");
	end(s, 4);
}

/* What a removed device admits, removes or sets afterwards has no effect. */
static void test_removed_device_has_no_say(void)
{
	struct side s[4];

	begin(s, 3);
	remove_from(&s[A], &s[C]);
	memset(&s[D], 0, sizeof(s[D]));
	side_create(&s[D], runs++, D);
	side_join(&s[D], &s[C]);
	remove_from(&s[C], &s[B]);
	assert(db_set_shared(s[C].db, "topology", "hub") == 0);
	write_file(&s[D], "intruder.json", "{}");
	speak(&s[C], &s[D]);
	speak(&s[C], &s[B]); /* B hears of it from C first */
	speak(&s[A], &s[B]);
	speak(&s[C], &s[A]);
	speak(&s[D], &s[A]);
	speak_all(s, (const unsigned[]){A, B}, 2);
	for (size_t i = 0; i < 2; i++) {
		char *value = NULL;

		assert(!is_member(&s[C], &s[i]) && !is_member(&s[D], &s[i]));
		assert(!has_file(&s[i], "intruder.json", "{}"));
		assert(db_get_shared(s[i].db, "topology", &value) == -ENOENT);
		assert(!db_is_removed(s[i].db));
	}
	assert(is_member(&s[B], &s[A]) && is_member(&s[A], &s[B]));
	end(s, 4);
}

static void say_member(struct side *at, struct side *whom)
{
	AUTO(buf_fini) struct buf cert = {0};

	keys_cert(whom->keys, &cert);
	say_operation(at, &(struct auth_op){.kind = AUTH_MEMBER,
					    .cert = buf_slice(&cert),
					    .role = MEMBER_OWNER});
}

/*
 * A removed device makes up another one, which vouches for both of them, and removes who removed them; its numbers are as low as
 * can be, or as they come.
 */
static void test_removed_device_cannot_be_vouched_for_by_its_own(void)
{
	for (unsigned back = 0; back < 2; back++) {
		const unsigned both[] = {A, B};
		struct side s[4];

		begin(s, 3);
		remove_from(&s[back ? A : B], &s[C]);
		speak(&s[A], &s[B]); /* else B would be a witness of what it took before it heard */
		memset(&s[D], 0, sizeof(s[D]));
		side_create(&s[D], runs++, D);
		if (back)
			s[C].db->lamport = 0;
		side_join(&s[D], &s[C]);
		if (back)
			s[D].db->lamport = 1;
		say_member(&s[D], &s[D]);
		say_member(&s[D], &s[C]);
		say_operation(&s[D],
			      &(struct auth_op){.kind = AUTH_REMOVE, .device = db_actor(s[B].db)});
		say_operation(&s[C],
			      &(struct auth_op){.kind = AUTH_REMOVE, .device = db_actor(s[B].db)});
		say_member(&s[C], &s[C]);
		write_file(&s[D], "intruder.json", "{}");
		for (unsigned round = 0; round < 2; round++) {
			speak(&s[C], &s[D]);
			speak(&s[C], &s[B]);
			speak(&s[C], &s[A]);
			speak(&s[D], &s[A]);
			speak(&s[D], &s[B]);
			speak_all(s, both, 2);
		}
		for (size_t i = 0; i < 2; i++) {
			assert(!is_member(&s[C], &s[i]) && !is_member(&s[D], &s[i]));
			assert(!db_is_removed(s[i].db));
			assert(!has_file(&s[i], "intruder.json", "{}"));
		}
		expect_same(s, both, 2, "without those who vouch for each other");
		end(s, 4);
	}
}

/* It is paired again: from then on it counts. */
static void test_admitted_again(void)
{
	const unsigned all[] = {A, B, C};
	AUTO(buf_fini) struct buf cert = {0};
	struct side s[3];

	begin(s, 3);
	remove_from(&s[A], &s[C]);
	speak_all(s, all, 3);
	write_file(&s[C], "offline.json", "{\"n\":1}");
	keys_cert(s[C].keys, &cert);
	assert(db_admit(s[A].db, buf_slice(&cert), MEMBER_OWNER) == 0);
	speak_all(s, all, 3);
	for (size_t i = 0; i < 3; i++) {
		assert(has_file(&s[i], "offline.json", "{\"n\":1}"));
		assert(!db_is_removed(s[i].db));
	}
	write_file(&s[B], "new.json", "{\"n\":2}");
	speak_all(s, all, 3);
	assert(has_file(&s[C], "new.json", "{\"n\":2}"));
	end(s, 3);
}

/* ---- ACCOUNT -------------------------------------------------------------------------------- */

static struct account account;

static void begin_of_account(struct side *sides, unsigned count)
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

static void begin_with_account(struct side *sides, unsigned count)
{
	account_create(&account);
	begin_of_account(sides, count);
}

static int remove_with_words(struct side *at, struct side *whom, uint64_t keep,
			     const struct account *words)
{
	AUTO(buf_fini) struct buf petition = {0};
	AUTO(buf_fini) struct buf done = {0};
	struct why why = {""};
	int r = petition_remove(at->db, db_actor(whom->db), keep, &petition, &why);

	assert(r < 0 || petition_sign(words, buf_slice(&petition), &done) == 0);
	return r < 0 ? r : petition_carry_out(at->db, buf_slice(&done));
}

/* The founder's device is stolen: it removes the others, admits one of its own, and goes on. */
static void test_account_settles_a_stolen_founder(void)
{
	const unsigned left[] = {B, C};
	const unsigned all[] = {A, B, C, D};
	struct side s[4] = {0};

	begin_with_account(s, 3);
	write_file(&s[B], "mine.json", "{\"n\":1}");
	speak_all(s, all, 3);
	remove_from(&s[A], &s[B]);
	remove_from(&s[A], &s[C]);
	side_create(&s[D], runs++, D);
	side_join(&s[D], &s[A]);
	speak_all(s, all, 4);
	assert(db_is_removed(s[B].db) && db_is_removed(s[C].db));

	/* From the thief's first act on, nothing of it counts. */
	assert(remove_with_words(&s[B], &s[A], 2, &account) == 0); /* it had admitted B and C */
	assert(!db_is_removed(s[B].db) && !is_member(&s[A], &s[B]) && !is_member(&s[D], &s[B]));
	speak(&s[B], &s[C]);
	assert(!db_is_removed(s[C].db) && is_member(&s[B], &s[C]) && !is_member(&s[A], &s[C]));

	/* What the thief does about it comes to nothing. */
	say_operation(&s[A], &(struct auth_op){.kind = AUTH_REMOVE, .device = db_actor(s[C].db)});
	write_file(&s[A], "theft.json", "{}");
	write_file(&s[D], "theft2.json", "{}");
	speak_all(s, all, 4);
	speak_all(s, left, 2);
	write_file(&s[C], "ours.json", "{\"n\":2}");
	speak_all(s, all, 4);
	for (unsigned i = B; i <= C; i++) {
		assert(has_file(&s[i], "mine.json", "{\"n\":1}") &&
		       has_file(&s[i], "ours.json", "{\"n\":2}"));
		assert(!has_file(&s[i], "theft.json", "{}") && !has_file(&s[i], "theft2.json", "{}"));
		assert(!db_is_removed(s[i].db) && !is_member(&s[A], &s[i]) &&
		       !is_member(&s[D], &s[i]));
	}
	assert(!has_file(&s[A], "ours.json", "{\"n\":2}") &&
	       !has_file(&s[D], "ours.json", "{\"n\":2}"));
	assert(db_is_removed(s[A].db));
	expect_same(s, left, 2, "without the stolen device");
	end(s, 4);
}

/* Without a number its acts stay: who it removed long ago is not let in again. */
static void test_account_keeps_what_was_right(void)
{
	struct side s[4];

	begin_with_account(s, 4);
	remove_from(&s[A], &s[D]);
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	assert(remove_with_words(&s[B], &s[A], UINT64_MAX, &account) == 0);
	speak(&s[B], &s[C]);
	for (unsigned i = B; i <= C; i++)
		assert(!is_member(&s[D], &s[i]) && !is_member(&s[A], &s[i]));
	assert(is_member(&s[C], &s[B]) && is_member(&s[B], &s[C]));
	end(s, 4);
}

static void test_account_of_others_has_no_say(void)
{
	struct account other;
	struct side s[3];

	begin_with_account(s, 3);
	account_create(&other);
	assert(remove_with_words(&s[C], &s[A], UINT64_MAX, &other) == -EACCES);
	end(s, 3);
	begin(s, 2); /* made without an account */
	assert(remove_with_words(&s[B], &s[A], UINT64_MAX, &other) == -ENOKEY);
	end(s, 2);
}

/* The signed operation of one feed, taken over by another one, said twice, or in another database: it counts nowhere. */
static void test_signed_operation_is_good_for_one_place(void)
{
	struct side s[4];
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(buf_fini) struct buf petition = {0};
	AUTO(buf_fini) struct buf done = {0};
	struct auth_op op;
	struct why why = {""};
	size_t at = 0;

	begin_with_account(s, 3);
	assert(petition_remove(s[B].db, db_actor(s[A].db), UINT64_MAX, &petition, &why) == 0);
	assert(petition_sign(&account, buf_slice(&petition), &done) == 0);
	assert(petition_carry_out(s[B].db, buf_slice(&done)) == 0);
	assert(petition_carry_out(s[B].db, buf_slice(&done)) == -EAGAIN);
	assert(petition_carry_out(s[C].db, buf_slice(&done)) == -EBADMSG);
	speak(&s[B], &s[C]);
	while (auth_decode(buf_slice(&s[C].db->auth[at].value), &op) < 0 || op.kind != AUTH_ACCOUNT)
		at++;
	AUTO(buf_fini) struct buf stolen = {0};
	buf_slice_append(&stolen, buf_slice(&s[C].db->auth[at].value));

	/* A is let in again; C, who would be rid of it, says again what the account once said. */
	keys_cert(s[A].keys, &cert);
	assert(db_admit(s[B].db, buf_slice(&cert), MEMBER_OWNER) == 0);
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	assert(is_member(&s[A], &s[B]) && is_member(&s[A], &s[C]));
	assert(auth_decode(buf_slice(&stolen), &op) == 0);
	say_operation(&s[C], &op);
	say_operation(&s[B], &op);
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	assert(is_member(&s[A], &s[B]) && is_member(&s[A], &s[C]) && !db_is_removed(s[A].db));
	expect_same(s, (const unsigned[]){A, B, C}, 3, "after a replay");
	end(s, 3);

	/* Another database of the same account, and of the same devices' keys as far as the text goes. */
	begin_of_account(s, 3);
	say_operation(&s[C], &op);
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	assert(!db_is_removed(s[A].db) && is_member(&s[A], &s[B]));
	end(s, 3);
}

/* The stolen founder cannot put its own account in the place of the person's. */
static void test_account_cannot_be_replaced(void)
{
	struct account thief;
	AUTO(buf_fini) struct buf text = {0};
	struct side s[3];

	begin_with_account(s, 3);
	account_create(&thief);
	account_text(thief.pk, &text);
	assert(db_set_shared(s[A].db, ACCOUNT_SETTING, buf_str(&text)) == 0);
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	assert(remove_with_words(&s[A], &s[B], UINT64_MAX, &thief) == -EACCES);
	assert(remove_with_words(&s[C], &s[A], UINT64_MAX, &account) == 0);
	speak(&s[B], &s[C]);
	assert(!is_member(&s[A], &s[B]));
	end(s, 3);
}

/* ---- ROLE ----------------------------------------------------------------------------------- */

static int give_role(struct side *at, struct side *to, enum member_role role)
{
	struct why why = {""};

	return db_set_role(at->db, db_actor(to->db), role, &why);
}

static int try_write(struct side *s, const char *name, const char *text)
{
	struct id root = db_root(s->db);
	struct id id;
	struct txn *t = db_begin(s->db);

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, &root, name) == 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR(text)) >= 0);
	return db_commit(t);
}

/* It reads on; what it writes all the same nobody takes, and what it wrote before stays, for newcomers too. */
static void test_reader_is_not_heard(void)
{
	const unsigned all[] = {A, B, C};
	struct side late = {0};
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "before.json", "{\"n\":1}");
	speak_all(s, all, 3);
	assert(give_role(&s[A], &s[C], MEMBER_READ) == 0);
	speak_all(s, all, 3);
	assert(db_is_read_only(s[C].db) && !db_is_read_only(s[B].db));
	assert(try_write(&s[C], "after.json", "{}") == -EROFS);
	assert(!has_file(&s[C], "after.json", "{}"));
	write_file(&s[A], "for you.json", "{\"n\":2}");
	speak(&s[A], &s[C]);
	assert(has_file(&s[C], "for you.json", "{\"n\":2}"));

	/* One that does not keep to it. */
	s[C].db->read_only = false;
	write_file(&s[C], "forced.json", "{}");
	speak(&s[C], &s[B]);
	speak(&s[C], &s[A]);
	for (unsigned i = A; i <= B; i++)
		assert(!has_file(&s[i], "forced.json", "{}") &&
		       has_file(&s[i], "before.json", "{\"n\":1}"));
	side_create(&late, runs++, 9);
	side_join(&late, &s[A]);
	for (unsigned i = 0; i < 3; i++)
		speak(&s[A], &late);
	speak(&s[C], &late);
	assert(has_file(&late, "before.json", "{\"n\":1}") && !has_file(&late, "forced.json", "{}"));
	side_destroy(&late);
	end(s, 3);
}

/* Lowered and raised again; what one takes and another had applied before it heard stays (WITNESS). */
static void test_role_goes_both_ways(void)
{
	const unsigned all[] = {A, B, C};
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "seen.json", "{\"n\":1}");
	speak(&s[C], &s[B]);
	assert(give_role(&s[A], &s[C], MEMBER_READ) == 0);
	speak_all(s, all, 3);
	for (unsigned i = 0; i < 3; i++)
		assert(has_file(&s[i], "seen.json", "{\"n\":1}"));
	assert(give_role(&s[A], &s[C], MEMBER_WRITE) == 0);
	speak_all(s, all, 3);
	assert(!db_is_read_only(s[C].db));
	write_file(&s[C], "again.json", "{\"n\":2}");
	speak_all(s, all, 3);
	expect_same(s, all, 3, "with a role given back");
	assert(has_file(&s[A], "again.json", "{\"n\":2}"));
	end(s, 3);
}

/* Who may only write has no say over members; what it did while it managed counts on. */
static void test_rights_end_with_the_role(void)
{
	const unsigned all[] = {A, B, C, D};
	AUTO(buf_fini) struct buf cert = {0};
	struct why why = {""};
	struct side s[4] = {0};

	begin(s, 3);
	side_create(&s[D], runs++, D);
	side_join(&s[D], &s[B]); /* admitted by B */
	speak_all(s, all, 4);
	assert(give_role(&s[A], &s[B], MEMBER_WRITE) == 0);
	speak_all(s, all, 4);
	for (unsigned i = 0; i < 4; i++)
		assert(i == D || is_member(&s[D], &s[i]));
	assert(db_remove_member(s[B].db, db_actor(s[C].db), &why) == -EPERM);
	assert(db_may_admit(s[B].db, MEMBER_READ, &why) == -EPERM);
	assert(give_role(&s[B], &s[C], MEMBER_READ) == -EPERM);
	keys_cert(s[C].keys, &cert);

	/* It says so all the same. */
	say_operation(&s[B], &(struct auth_op){.kind = AUTH_REMOVE, .device = db_actor(s[C].db)});
	say_operation(&s[B], &(struct auth_op){.kind = AUTH_ROLE,
					       .device = db_actor(s[B].db),
					       .role = MEMBER_OWNER});
	say_operation(&s[B], &(struct auth_op){.kind = AUTH_ROLE,
					       .device = db_actor(s[A].db),
					       .role = MEMBER_READ});
	speak_all(s, all, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert(!db_is_removed(s[i].db) && !db_is_read_only(s[i].db));
		assert(member_find(s[i].db, db_actor(s[B].db))->role == MEMBER_WRITE);
	}
	expect_same(s, all, 4, "with rights that ended");
	end(s, 4);
}

/* Nobody gives more than it has, nor takes from who came before it. */
static void test_roles_that_cannot_be_given(void)
{
	struct side s[3];

	begin(s, 3);
	assert(give_role(&s[C], &s[B], MEMBER_READ) == -EPERM &&
	       give_role(&s[C], &s[A], MEMBER_READ) == -EPERM);
	assert(give_role(&s[B], &s[B], MEMBER_READ) == -EPERM);
	assert(give_role(&s[A], &s[C], MEMBER_MANAGE) == 0 &&
	       give_role(&s[A], &s[B], MEMBER_WRITE) == 0);
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	assert(give_role(&s[C], &s[B], MEMBER_OWNER) == -EPERM);
	assert(give_role(&s[C], &s[B], MEMBER_MANAGE) == 0); /* gives, so it need not be senior */
	assert(give_role(&s[C], &s[C], MEMBER_OWNER) == -EPERM);
	end(s, 3);
}

/* A colluding member says that it has witnessed what a removed one did in `auth`: that gives it no effect. */
static void test_witness_of_auth_has_no_effect(void)
{
	const unsigned both[] = {A, B};
	AUTO(buf_fini) struct buf cut = {0};
	AUTO(buf_fini) struct buf cert = {0};
	struct side s[4] = {0};

	begin(s, 3);
	remove_from(&s[A], &s[C]);
	side_create(&s[D], runs++, D);
	keys_cert(s[D].keys, &cert);
	say_operation(&s[C], &(struct auth_op){.kind = AUTH_MEMBER,
					       .cert = buf_slice(&cert),
					       .role = MEMBER_OWNER});
	speak(&s[C], &s[B]);
	auth_put_cut(&cut, &s[B].db->auth_stream, 1000);
	say_operation(&s[B], &(struct auth_op){.kind = AUTH_ADOPT,
					       .device = db_actor(s[C].db),
					       .cuts = buf_slice(&cut)});
	speak_all(s, both, 2);
	speak(&s[C], &s[A]);
	speak_all(s, both, 2);
	for (unsigned i = A; i <= B; i++) {
		const struct member *m = NULL;
		for (size_t k = 0; k < s[i].db->member_count; k++) {
			if (!strcmp(s[i].db->members[k].device.name, keys_device(s[D].keys)->name))
				m = &s[i].db->members[k];
		}
		assert(!m || !member_is_current(m));
	}
	keys_destroy(s[D].keys);
	end(s, 3);
}

/* ---- EVALUATE ------------------------------------------------------------------------------- */

static void test_settings(void)
{
	struct side s[2];
	char *value = NULL;

	begin(s, 2);
	assert(db_get_shared(s[A].db, "topology", &value) == -ENOENT);
	assert(db_set_shared(s[A].db, "topology", "hub") == 0);
	assert(db_set_shared(s[A].db, "other", "") == 0);
	speak(&s[A], &s[B]);
	assert(db_set_shared(s[B].db, "topology", "mesh") == 0);
	speak(&s[A], &s[B]);
	for (size_t i = 0; i < 2; i++) {
		assert(db_get_shared(s[i].db, "topology", &value) == 0 && !strcmp(value, "mesh"));
		free(value);
		assert(db_get_shared(s[i].db, "other", &value) == 0 && !strcmp(value, ""));
		free(value);
	}
	db_close(s[B].db);
	side_open(&s[B]);
	assert(db_get_shared(s[B].db, "topology", &value) == 0 && !strcmp(value, "mesh"));
	free(value);
	end(s, 2);
}

/*
 * Random histories of four devices that admit and remove each other while they are cut into pieces: when all have talked,
 * all agree on who is a member, whatever they heard first.
 */
static void test_random(void)
{
	for (unsigned run = 0; run < random_runs; run++) {
		const unsigned all[] = {A, B, C, D};
		struct side s[4];

		seed = 1000 + run;
		begin_with_account(s, 4);
		for (unsigned step = 0; step < 12; step++) {
			unsigned i = rnd(4);
			unsigned k = (i + 1 + rnd(3)) % 4;
			AUTO(buf_fini) struct buf cert = {0};
			char name[16];
			struct why why;

			(void)snprintf(name, sizeof(name), "f%u.json", rnd(4));
			keys_cert(s[k].keys, &cert);
			switch (rnd(8)) {
			case 0:
				(void)db_remove_member(s[i].db, db_actor(s[k].db), &why);
				break;
			case 1:
				(void)db_admit(s[i].db, buf_slice(&cert), MEMBER_OWNER);
				break;
			case 2:
				(void)give_role(&s[i], &s[k],
						rnd(2) ? MEMBER_READ : MEMBER_READ + rnd(4));
				break;
			case 3:
				if (rnd(3) == 0)
					(void)remove_with_words(&s[i], &s[k],
								rnd(2) ? rnd(5) : UINT64_MAX,
								&account);
				break;
			case 4:
			case 5:
				(void)try_write(&s[i], name, rnd(2) ? "{\"n\":1}" : "{\"n\":2,\"m\":3}");
				break;
			default:
				speak(&s[i], &s[k]);
			}
		}
		for (unsigned round = 0; round < 4; round++)
			speak_all(s, all, 4);
		for (unsigned i = 1; i < 4; i++) {
			assert(s[i].db->auth_count == s[0].db->auth_count);
			for (unsigned k = 0; k < 4; k++) {
				const struct member *x = member_find(s[0].db, db_actor(s[k].db));
				const struct member *y = member_find(s[i].db, db_actor(s[k].db));

				assert(x && y && x->removed == y->removed && x->role == y->role);
			}
		}
		/*
		 * Those that are left show the same; who was removed cannot read it all, and who may only read
		 * may have written something that reached nobody before it heard.
		 */
		unsigned left[4];
		size_t count = 0;
		for (unsigned i = 0; i < 4; i++) {
			if (!db_is_removed(s[i].db) && !db_is_read_only(s[i].db))
				left[count++] = i;
		}
		if (count)
			expect_same(s, left, count, "random");
		end(s, 4);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"removed_device_is_not_accepted", test_removed_device_is_not_accepted},
		{"removed_device_cannot_read_on", test_removed_device_cannot_read_on},
		{"epochs_are_kept", test_epochs_are_kept},
		{"witness", test_witness},
		{"two_removals_at_once", test_two_removals_at_once},
		{"duel", test_duel},
		{"admitted_meanwhile", test_admitted_meanwhile},
		{"removed_device_has_no_say", test_removed_device_has_no_say},
		{"removed_device_cannot_be_vouched_for_by_its_own",
		 test_removed_device_cannot_be_vouched_for_by_its_own},
		{"admitted_again", test_admitted_again},
		{"account_settles_a_stolen_founder", test_account_settles_a_stolen_founder},
		{"account_keeps_what_was_right", test_account_keeps_what_was_right},
		{"account_of_others_has_no_say", test_account_of_others_has_no_say},
		{"signed_operation_is_good_for_one_place",
		 test_signed_operation_is_good_for_one_place},
		{"account_cannot_be_replaced", test_account_cannot_be_replaced},
		{"reader_is_not_heard", test_reader_is_not_heard},
		{"role_goes_both_ways", test_role_goes_both_ways},
		{"rights_end_with_the_role", test_rights_end_with_the_role},
		{"roles_that_cannot_be_given", test_roles_that_cannot_be_given},
		{"witness_of_auth_has_no_effect", test_witness_of_auth_has_no_effect},
		{"settings", test_settings},
		{"random", test_random},
	};

	if (argc > 1)
		random_runs = (unsigned)atoi(argv[1]);
	digest_init();
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(base, sizeof(base), "%s/blaze-members-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
		(void)fflush(stdout);
	}
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
