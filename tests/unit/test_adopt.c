/* What a removed device made before it heard of its removal: kept, shown, adopted; and nothing else of it. */
#include "tests/unit/members.h"

#include "core/adopt.h"
#include "core/compact.h"
#include "core/quarantine.h"

static uint64_t kept_of(struct side *at, struct side *whom)
{
	AUTO(free_ptr) struct adoptable *list = NULL;
	size_t n = adopt_list(at->db, &list);

	for (size_t i = 0; i < n; i++) {
		if (list[i].device.actor == db_actor(whom->db))
			return list[i].change_count;
	}
	return 0;
}

static int adopt(struct side *at, struct side *whom)
{
	struct adopt_work w;
	struct why why = {""};
	uint64_t waiting = 0;

	assert(adopt_look(at->db, db_actor(whom->db), &w) == 0);
	int r = w.change_count ? adopt_accept(at->db, &w, &waiting, &why) : -ENOENT;
	adopt_work_fini(&w);
	return r;
}

static bool is_flagged(struct side *at, struct side *whom, enum flag_kind kind)
{
	AUTO(free_ptr) struct flag *flags = NULL;
	size_t n = db_flags(at->db, &flags);

	for (size_t i = 0; i < n; i++) {
		if (flags[i].actor == db_actor(whom->db) && flags[i].kind == kind)
			return true;
	}
	return false;
}

static const unsigned both[] = {A, B};

/* C works offline, is removed, comes by once, and is gone for ever. */
static void test_offline_work_is_adopted(void)
{
	struct side s[3];
	struct adopt_work w;

	begin(s, 3);
	write_file(&s[C], "before.json", "{\"n\":1}");
	speak(&s[C], &s[A]);
	speak(&s[A], &s[B]);
	write_file(&s[C], "before.json", "{\"n\":2}");
	write_file(&s[C], "offline.json", "{\"n\":1}");
	remove_from(&s[A], &s[C]);
	speak(&s[C], &s[A]);
	assert(db_is_removed(s[C].db) && kept_of(&s[A], &s[C]) == 2);
	assert(has_file(&s[A], "before.json", "{\"n\":1}") &&
	       !has_file(&s[A], "offline.json", "{\"n\":1}"));
	assert(!is_flagged(&s[A], &s[C], FLAG_CUT));

	assert(adopt_look(s[A].db, db_actor(s[C].db), &w) == 0 && w.change_count == 2 &&
	       w.node_count == 2);
	assert(!strcmp(w.nodes[0].path, "before.json") && !w.nodes[0].created && !w.nodes[0].deleted);
	assert(!strcmp(w.nodes[1].path, "offline.json") && w.nodes[1].created &&
	       w.nodes[1].change_count == 1);
	adopt_work_fini(&w);

	assert(adopt(&s[A], &s[C]) == 0 && kept_of(&s[A], &s[C]) == 0);
	speak(&s[A], &s[B]);
	for (unsigned i = A; i <= B; i++)
		assert(has_file(&s[i], "before.json", "{\"n\":2}") &&
		       has_file(&s[i], "offline.json", "{\"n\":1}"));
	expect_same(s, both, 2, "adopted");
	/* What it makes now is neither taken nor kept, and it is no member. */
	write_file(&s[C], "late.json", "{}");
	speak(&s[C], &s[A]);
	speak(&s[C], &s[B]);
	assert(kept_of(&s[A], &s[C]) == 0 && kept_of(&s[B], &s[C]) == 0 && !is_member(&s[C], &s[A]));
	end(s, 3);
}

/* The one it comes by may not manage, or is not the one where a person looks: it goes on to the others. */
static void test_work_is_passed_on(void)
{
	struct side s[4];
	const unsigned left[] = {A, B, D};

	begin(s, 4);
	for (unsigned i = 0; i < 5; i++)
		write_file(&s[C], i % 2 ? "one.json" : "two.json",
			   i < 3 ? "{\"n\":1}" : "{\"n\":2,\"m\":[1]}");
	remove_from(&s[A], &s[C]);
	speak_all(s, left, 3);
	speak(&s[C], &s[B]);
	assert(kept_of(&s[B], &s[C]) == 4);
	speak_all(s, left, 3);
	for (size_t i = 0; i < 3; i++)
		assert(kept_of(&s[left[i]], &s[C]) == 4 &&
		       !has_file(&s[left[i]], "one.json", "{\"n\":2,\"m\":[1]}"));
	assert(adopt(&s[A], &s[C]) == 0);
	speak(&s[A], &s[D]);
	speak(&s[D], &s[B]);
	for (size_t i = 0; i < 3; i++)
		assert(kept_of(&s[left[i]], &s[C]) == 0 &&
		       has_file(&s[left[i]], "one.json", "{\"n\":2,\"m\":[1]}"));
	expect_same(s, left, 3, "passed on");
	end(s, 4);
}

/* What is kept survives a restart, and so does what was adopted and is applied after it. */
static void test_restart(void)
{
	struct side s[3];

	begin(s, 3);
	for (unsigned i = 0; i < 3; i++) {
		write_file(&s[C], "one.json", i % 2 ? "{\"n\":1}" : "{\"n\":2}");
		assert(db_seal(s[C].db) == 0);
	}
	remove_from(&s[A], &s[C]);
	speak(&s[C], &s[A]);
	db_close(s[A].db);
	side_open(&s[A]);
	assert(kept_of(&s[A], &s[C]) == 3);
	assert(adopt(&s[A], &s[C]) == 0);
	db_close(s[A].db);
	side_open(&s[A]);
	speak(&s[A], &s[B]);
	db_close(s[B].db);
	side_open(&s[B]);
	expect_same(s, both, 2, "after restarts");
	assert(has_file(&s[B], "one.json", "{\"n\":2}"));
	end(s, 3);
}

/* It says what it has heard of, goes on, and dates it yesterday. */
static void test_what_is_written_after_hearing_is_refused(void)
{
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "offline.json", "{\"n\":1}");
	remove_from(&s[A], &s[C]);
	speak(&s[C], &s[A]);
	clock_ms = 1700000000000;
	write_file(&s[C], "offline.json", "{\"n\":666}");
	clock_ms = 0;
	/* It pretends to be a member, to itself. */
	for (size_t i = 0; i < s[C].db->member_count; i++)
		s[C].db->members[i].removed = false;
	speak(&s[C], &s[A]);
	assert(kept_of(&s[A], &s[C]) == 1 && is_flagged(&s[A], &s[C], FLAG_CUT));
	assert(adopt(&s[A], &s[C]) == 0);
	speak(&s[A], &s[B]);
	speak(&s[C], &s[B]);
	speak(&s[C], &s[A]);
	for (unsigned i = A; i <= B; i++)
		assert(has_file(&s[i], "offline.json", "{\"n\":1}"));
	expect_same(s, both, 2, "without what came after");
	end(s, 3);
}

/* Two stores of one device, which tell different things: a copy of it, and itself. */
static void fork_of(struct side *s, struct side *copy)
{
	AUTO(free_ptr) char *cp = NULL;

	*copy = *s;
	(void)snprintf(copy->dir, sizeof(copy->dir), "%s/copy%u", base, runs++);
	cp = xasprintf("cp -r '%s' '%s'", s->dir, copy->dir);
	db_close(s->db);
	assert(system(cp) == 0);
	side_open(s);
	side_open(copy);
}

static void fork_end(struct side *copy)
{
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", copy->dir);

	db_close(copy->db);
	assert(system(rm) == 0);
}

/* It tells A one thing and B another: it is caught at that, and what A adopts is what B applies. */
static void test_fork(void)
{
	for (unsigned order = 0; order < 3; order++) {
		struct side s[3];
		struct side copy;

		begin(s, 3);
		fork_of(&s[C], &copy);
		write_file(&s[C], "one.json", "{\"said\":\"to A\"}");
		write_file(&copy, "one.json", "{\"said\":\"to B\"}");
		assert(db_seal(s[C].db) == 0 && db_seal(copy.db) == 0);
		write_file(&s[C], "one.json", "{\"said\":\"more to A\"}");
		write_file(&copy, "one.json", "{\"said\":\"more to B\"}");
		write_file(&copy, "two.json", "{\"said\":\"more to B\"}");
		remove_from(&s[A], &s[C]);
		speak(&s[A], &s[B]);
		speak(&s[C], &s[A]);
		speak(&copy, &s[B]);
		assert(kept_of(&s[A], &s[C]) == 2 && kept_of(&s[B], &s[C]) == 3);
		if (order == 1)
			speak(&s[A], &s[B]);
		assert(adopt(&s[A], &s[C]) == 0);
		if (order == 2) { /* the other branch comes again, before what was adopted does */
			speak(&copy, &s[A]);
			speak(&copy, &s[B]);
		}
		speak(&s[A], &s[B]);
		speak(&s[A], &s[B]);
		speak(&copy, &s[B]);
		speak(&copy, &s[A]);
		speak(&s[A], &s[B]);
		for (unsigned i = A; i <= B; i++) {
			assert(has_file(&s[i], "one.json", "{\"said\":\"more to A\"}"));
			assert(!has_file(&s[i], "two.json", "{\"said\":\"more to B\"}"));
		}
		assert(is_flagged(&s[B], &s[C], FLAG_FEED));
		expect_same(s, both, 2, "of two branches");
		fork_end(&copy);
		end(s, 3);
	}
}

/* Two administrators adopt different branches, and hear of each other's word: both go by the same one. */
static void test_two_decide(void)
{
	struct side s[4];
	struct side copy;

	begin(s, 4);
	fork_of(&s[C], &copy);
	write_file(&s[C], "one.json", "{\"said\":\"to A\"}");
	write_file(&copy, "one.json", "{\"said\":\"to B\"}");
	remove_from(&s[A], &s[C]);
	speak_all(s, (const unsigned[]){A, B, D}, 3);
	speak(&s[C], &s[A]);
	speak(&copy, &s[B]);
	assert(adopt(&s[A], &s[C]) == 0 && adopt(&s[B], &s[C]) == 0);
	/* D has applied neither. What it hears decides nothing, and it says the same as whoever is right. */
	speak(&s[B], &s[D]);
	speak(&s[A], &s[D]);
	size_t count = 0;
	for (size_t i = 0; i < s[D].db->auth_count; i++) {
		struct auth_op op;

		count += auth_decode(buf_slice(&s[D].db->auth[i].value), &op) == 0 &&
			 op.kind == AUTH_ADOPT && s[D].db->auth[i].effective;
	}
	assert(count == 1);
	fork_end(&copy);
	end(s, 4);
}

/* Folded into strata, and given to who joins later. */
static void test_strata_and_newcomers(void)
{
	struct side s[3];
	struct side late = {0};

	stratum_changes = 8;
	begin(s, 3);
	write_file(&s[A], "zero.json", "{}");
	speak_all(s, (const unsigned[]){A, B, C}, 3);
	for (unsigned i = 0; i < 20; i++) {
		write_file(&s[C], "one.json", i % 2 ? "{\"n\":1}" : "{\"n\":2}");
		if (i % 3 == 0)
			assert(db_seal(s[C].db) == 0);
		if (i == 10)
			speak(&s[C], &s[A]);
	}
	remove_from(&s[A], &s[C]);
	speak(&s[C], &s[A]);
	assert(kept_of(&s[A], &s[C]) == 9 && adopt(&s[A], &s[C]) == 0);
	for (unsigned i = 0; i < 40 && db_compact_step(s[A].db) > 0; i++)
		;
	speak_all(s, both, 2);
	for (unsigned i = 0; i < 40 && db_compact_step(s[A].db) > 0; i++)
		;
	side_create(&late, runs++, 9);
	side_join(&late, &s[A]);
	speak(&s[A], &late);
	speak(&s[B], &late);
	assert(has_file(&late, "one.json", "{\"n\":1}") && has_file(&s[B], "one.json", "{\"n\":1}"));
	expect_same(s, both, 2, "with strata");
	side_destroy(&late);
	end(s, 3);
	stratum_changes = 0;
}

static void test_refused(void)
{
	struct side s[3];
	struct why why;

	begin(s, 3);
	write_file(&s[C], "offline.json", "{\"n\":1}");
	remove_from(&s[A], &s[C]);
	speak(&s[A], &s[B]);
	speak(&s[C], &s[A]);
	speak(&s[A], &s[B]);
	assert(kept_of(&s[A], &s[C]) == 1 && kept_of(&s[B], &s[C]) == 1);
	assert(adopt_refuse(s[A].db, db_actor(s[C].db), &why) == 0);
	speak(&s[C], &s[A]);
	speak(&s[B], &s[A]);
	assert(kept_of(&s[A], &s[C]) == 0);
	/* Another administrator thinks otherwise: then it counts, here too. */
	assert(adopt(&s[B], &s[C]) == 0);
	speak(&s[B], &s[A]);
	assert(has_file(&s[A], "offline.json", "{\"n\":1}"));
	expect_same(s, both, 2, "refused here, adopted there");
	end(s, 3);
}

/* It is let in again: nothing is left to decide. */
static void test_admitted_again(void)
{
	const unsigned all[] = {A, B, C};
	AUTO(buf_fini) struct buf cert = {0};
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "offline.json", "{\"n\":1}");
	remove_from(&s[A], &s[C]);
	speak(&s[C], &s[A]);
	assert(kept_of(&s[A], &s[C]) == 1);
	keys_cert(s[C].keys, &cert);
	assert(db_admit(s[A].db, buf_slice(&cert), MEMBER_OWNER) == 0);
	speak_all(s, all, 3);
	assert(kept_of(&s[A], &s[C]) == 0);
	for (unsigned i = 0; i < 3; i++)
		assert(has_file(&s[i], "offline.json", "{\"n\":1}"));
	expect_same(s, all, 3, "admitted again");
	end(s, 3);
}

/* Who may only read now, and wrote before it heard of that. */
static void test_of_a_reader(void)
{
	const unsigned all[] = {A, B, C};
	struct side s[3];

	begin(s, 3);
	write_file(&s[C], "offline.json", "{\"n\":1}");
	assert(give_role(&s[A], &s[C], MEMBER_READ) == 0);
	speak_all(s, all, 3);
	assert(kept_of(&s[A], &s[C]) == 1 && !has_file(&s[B], "offline.json", "{\"n\":1}"));
	assert(adopt(&s[C], &s[C]) < 0);
	assert(adopt(&s[A], &s[C]) == 0);
	speak_all(s, all, 3);
	expect_same(s, all, 3, "of a reader");
	assert(has_file(&s[B], "offline.json", "{\"n\":1}"));
	end(s, 3);
}

/* Who may not manage cannot adopt, whatever it says. */
static void test_only_who_manages_decides(void)
{
	struct side s[3];
	struct adopt_work w;
	AUTO(buf_fini) struct buf adopted = {0};

	begin(s, 3);
	write_file(&s[C], "offline.json", "{\"n\":1}");
	assert(give_role(&s[A], &s[B], MEMBER_WRITE) == 0);
	remove_from(&s[A], &s[C]);
	speak_all(s, both, 2);
	speak(&s[C], &s[B]);
	assert(kept_of(&s[B], &s[C]) == 1 && adopt(&s[B], &s[C]) == -EPERM);
	assert(adopt_look(s[B].db, db_actor(s[C].db), &w) == 0);
	const struct kept *k = &s[B].db->kept[0];
	auth_put_adopted(&adopted, k->last, k->head);
	say_operation(&s[B], &(struct auth_op){.kind = AUTH_ADOPT,
					       .device = k->actor,
					       .stream = k->stream,
					       .first = k->first,
					       .adopted = buf_slice(&adopted)});
	speak_all(s, both, 2);
	for (unsigned i = A; i <= B; i++)
		assert(!has_file(&s[i], "offline.json", "{\"n\":1}"));
	adopt_work_fini(&w);
	end(s, 3);
}

/* It built on what only it had heard of: that has to come first. */
static void test_adopted_work_waits_for_what_it_builds_on(void)
{
	struct side s[4];
	struct adopt_work w;
	struct why why = {""};
	uint64_t waiting = 0;
	const unsigned left[] = {A, B, D};

	begin(s, 4);
	write_file(&s[B], "shared.json", "{\"n\":1}");
	speak(&s[B], &s[C]);
	write_file(&s[C], "shared.json", "{\"n\":1,\"m\":2}");
	remove_from(&s[A], &s[C]);
	speak(&s[C], &s[A]);
	assert(kept_of(&s[A], &s[C]) == 1 && !has_file(&s[A], "shared.json", "{\"n\":1}"));
	assert(adopt_look(s[A].db, db_actor(s[C].db), &w) == 0 && w.change_count == 1);
	assert(adopt_accept(s[A].db, &w, &waiting, &why) == 0 && waiting == 1);
	assert(kept_of(&s[A], &s[C]) == 0); /* nothing is left to decide */
	adopt_work_fini(&w);
	db_close(s[A].db);
	side_open(&s[A]);
	speak(&s[A], &s[D]);
	assert(!has_file(&s[A], "shared.json", "{\"n\":1,\"m\":2}"));
	speak(&s[A], &s[B]);
	speak_all(s, left, 3);
	for (size_t i = 0; i < 3; i++)
		assert(has_file(&s[left[i]], "shared.json", "{\"n\":1,\"m\":2}") &&
		       kept_of(&s[left[i]], &s[C]) == 0);
	expect_same(s, left, 3, "in its turn");
	end(s, 4);
}

static void put_feed(struct buf *out, const struct id *stream, uint64_t actor)
{
	buf_varint(out, 0);
	id_write(out, stream);
	buf_be64(out, actor);
}

/* It says that others hold what they do not, and sends nonsense until it is stopped. */
static void test_visitor_that_lies_and_floods(void)
{
	AUTO(buf_fini) struct buf m = {0};
	struct side s[3];

	begin(s, 3);
	remove_from(&s[A], &s[C]);
	speak_all(s, both, 2);
	write_file(&s[A], "mine.json", "{}");
	assert(db_seal(s[A].db) == 0 && !db_is_acked(s[A].db));
	struct sync_options oa = {
		.db = s[A].db, .peer = db_actor(s[C].db), .endpoint = "", .now_ms = 1};
	struct sync_options oc = {
		.db = s[C].db, .peer = db_actor(s[A].db), .endpoint = "", .now_ms = 1};
	struct sync *at_a = sync_create(&oa);
	struct sync *at_c = sync_create(&oc);
	assert(sync_next(at_c, &m) == 1 && sync_receive(at_a, buf_slice(&m)) == 0);

	buf_clear(&m);
	buf_u8(&m, 5); /* ACK */
	buf_be64(&m, db_actor(s[B].db));
	buf_varint(&m, 1);
	put_feed(&m, &s[A].db->root_stream, db_actor(s[A].db));
	buf_varint(&m, feed_find(s[A].db, &s[A].db->root_stream, db_actor(s[A].db))->sealed);
	assert(sync_receive(at_a, buf_slice(&m)) == 0 && !db_is_acked(s[A].db));

	buf_clear(&m);
	buf_u8(&m, 4); /* ENVELOPE */
	put_feed(&m, &s[A].db->root_stream, db_actor(s[C].db));
	buf_append(&m, "nonsense", 8);
	unsigned n = 0;
	int r = 0;
	while (r == 0 && n < 1000) {
		r = sync_receive(at_a, buf_slice(&m));
		n++;
	}
	assert(r == -EACCES && n > 100 && n < 1000 && kept_of(&s[A], &s[C]) == 0);
	/* What it is told meanwhile is `auth`, and of nobody's feeds but its own. */
	while (sync_next(at_a, &m) == 1)
		assert(m.data[0] != 15 && m.data[0] != 12 && m.data[0] != 16);
	sync_destroy(at_a);
	sync_destroy(at_c);
	end(s, 3);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"offline_work_is_adopted", test_offline_work_is_adopted},
		{"work_is_passed_on", test_work_is_passed_on},
		{"restart", test_restart},
		{"what_is_written_after_hearing_is_refused",
		 test_what_is_written_after_hearing_is_refused},
		{"fork", test_fork},
		{"two_decide", test_two_decide},
		{"strata_and_newcomers", test_strata_and_newcomers},
		{"refused", test_refused},
		{"admitted_again", test_admitted_again},
		{"of_a_reader", test_of_a_reader},
		{"only_who_manages_decides", test_only_who_manages_decides},
		{"adopted_work_waits_for_what_it_builds_on",
		 test_adopted_work_waits_for_what_it_builds_on},
		{"visitor_that_lies_and_floods", test_visitor_that_lies_and_floods},
	};

	digest_init();
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(base, sizeof(base), "%s/blaze-adopt-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
		(void)fflush(stdout);
	}
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	return system(rm) == 0 ? 0 : 1;
}
