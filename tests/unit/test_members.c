/* Members: who may do what, removals, epochs. */
#include "tests/unit/members.h"

#include "core/adopt.h"
#include "core/compact.h"

static unsigned random_runs = 25;
static unsigned decided;

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

/* Decides about what is kept of it there, if anything. */
static void decide(struct side *at, struct side *whom)
{
	struct adopt_work w;
	struct why why;
	uint64_t waiting = 0;

	assert(adopt_look(at->db, db_actor(whom->db), &w) == 0);
	if (w.change_count && rnd(4))
		(void)adopt_accept(at->db, &w, &waiting, &why);
	else if (w.change_count)
		assert(adopt_refuse(at->db, db_actor(whom->db), &why) == 0);
	decided += w.change_count > 0;
	adopt_work_fini(&w);
}

/* Something happens somewhere. */
static void random_step(struct side *s)
{
	unsigned i = rnd(4);
	unsigned k = (i + 1 + rnd(3)) % 4;
	AUTO(buf_fini) struct buf cert = {0};
	char name[16];
	struct why why;

	(void)snprintf(name, sizeof(name), "f%u.json", rnd(4));
	keys_cert(s[k].keys, &cert);
	switch (rnd(10)) {
	case 0:
		(void)db_remove_member(s[i].db, db_actor(s[k].db), &why);
		break;
	case 1:
		(void)db_admit(s[i].db, buf_slice(&cert), MEMBER_OWNER);
		break;
	case 2:
		(void)give_role(&s[i], &s[k], rnd(2) ? MEMBER_READ : MEMBER_READ + rnd(4));
		break;
	case 3:
		if (rnd(3) == 0)
			(void)remove_with_words(&s[i], &s[k], rnd(2) ? rnd(5) : UINT64_MAX,
						&account);
		break;
	case 4:
		for (unsigned of = 0; of < 4; of++)
			decide(&s[i], &s[of]);
		break;
	case 5:
	case 6:
		(void)try_write(&s[i], name, rnd(2) ? "{\"n\":1}" : "{\"n\":2,\"m\":3}");
		break;
	default:
		speak(&s[i], &s[k]);
	}
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
		for (unsigned step = 0; step < 12; step++)
			random_step(s);
		speak_all(s, all, 4);
		for (unsigned of = 0; of < 16; of++)
			decide(&s[of / 4], &s[of % 4]);
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
	assert(random_runs < 25 || decided > 0);
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
