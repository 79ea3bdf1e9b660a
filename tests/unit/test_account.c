/* The account's word, and roles: who may do what when somebody does not keep to it. */
#include "tests/unit/members.h"

/* ---- ACCOUNT -------------------------------------------------------------------------------- */

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
	say_operation(&s[B], &(struct auth_op){.kind = AUTH_WITNESS,
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

/* ---- what members are caught at --------------------------------------------------------------- */

static bool is_flagged(struct side *at, struct side *whom, enum flag_kind kind)
{
	AUTO(free_ptr) struct flag *flags = NULL;
	size_t count = db_flags(at->db, &flags);

	for (size_t i = 0; i < count; i++) {
		if (flags[i].actor == db_actor(whom->db) && flags[i].kind == kind)
			return true;
	}
	return false;
}

/* It tells A one thing and B another: whoever hears the second is shown it, and applies none of it. */
static void test_equivocation_is_flagged(void)
{
	struct side twin;
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "one.json", "{\"n\":1}");
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	db_close(s[C].db);
	twin = s[C];
	(void)snprintf(twin.dir, sizeof(twin.dir), "%s/twin", base);
	AUTO(free_ptr) char *copy = xasprintf("cp -r '%s' '%s'", s[C].dir, twin.dir);
	assert(system(copy) == 0);
	side_open(&s[C]);
	side_open(&twin);
	write_file(&s[C], "for a.json", "{}");
	write_file(&twin, "for b.json", "{}");
	speak(&s[C], &s[A]);
	speak(&twin, &s[B]);
	write_file(&s[C], "for a2.json", "{}");
	speak(&s[C], &s[A]);
	speak(&s[A], &s[B]);
	assert(is_flagged(&s[B], &s[C], FLAG_FEED));
	assert(has_file(&s[B], "for b.json", "{}") && !has_file(&s[B], "for a2.json", "{}"));
	assert(has_file(&s[A], "for a2.json", "{}") && !has_file(&s[A], "for b.json", "{}"));
	/* Others are not suspected, and what does not build on it goes on. */
	AUTO(free_ptr) char *value = NULL;
	assert(db_set_shared(s[A].db, "topology", "hub") == 0);
	speak(&s[A], &s[B]);
	assert(db_get_shared(s[B].db, "topology", &value) == 0);
	assert(!is_flagged(&s[B], &s[A], FLAG_FEED));
	db_close(twin.db);
	end(s, 3);
}

/* A clock that is a year ahead: taken, flagged, and followed by nobody. */
static void test_clock_a_year_ahead_is_not_followed(void)
{
	const unsigned all[] = {A, B, C};
	const uint64_t now = 1800000000000;
	const uint64_t year = UINT64_C(365) * 24 * 3600 * 1000;
	struct side s[3];

	clock_ms = now;
	begin(s, 3);
	clock_ms = now + year;
	write_file(&s[C], "future.json", "{\"n\":1}");
	clock_ms = now;
	speak_all(s, all, 3);
	assert(is_flagged(&s[A], &s[C], FLAG_CLOCK) && is_flagged(&s[B], &s[C], FLAG_CLOCK));
	assert(has_file(&s[A], "future.json", "{\"n\":1}"));
	write_file(&s[A], "now.json", "{}");
	assert(s[A].db->hlc >> 16 < now + year / 2);
	/* Who saw it saves over it, and that counts, although it is dated earlier. */
	write_file(&s[A], "future.json", "{\"n\":2}");
	speak_all(s, all, 3);
	assert(!is_flagged(&s[B], &s[A], FLAG_CLOCK));
	for (unsigned i = 0; i < 3; i++)
		assert(has_file(&s[i], "future.json", "{\"n\":2}"));
	expect_same(s, all, 3, "with a clock a year ahead");
	clock_ms = 0;
	end(s, 3);
}

/* Written after the removal, dated before it: flagged, and not applied. */
static void test_backdating_is_flagged(void)
{
	struct side s[3];

	begin(s, 3);
	remove_from(&s[A], &s[C]);
	speak(&s[C], &s[A]);
	for (size_t i = 0; i < s[C].db->member_count; i++)
		s[C].db->members[i].removed =
			false; /* it pretends not to have heard, after it said that it had */
	clock_ms = 1700000000000;
	write_file(&s[C], "yesterday.json", "{}");
	clock_ms = 0;
	speak(&s[C], &s[A]);
	assert(is_flagged(&s[A], &s[C], FLAG_CUT) && !has_file(&s[A], "yesterday.json", "{}"));
	end(s, 3);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
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
		{"equivocation_is_flagged", test_equivocation_is_flagged},
		{"clock_a_year_ahead_is_not_followed", test_clock_a_year_ahead_is_not_followed},
		{"backdating_is_flagged", test_backdating_is_flagged},
	};

	digest_init();
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(base, sizeof(base), "%s/blaze-account-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
		(void)fflush(stdout);
	}
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
