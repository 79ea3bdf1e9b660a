/* core/contact: what devices say of where they are, and what others might make of it. */
#include "core/contact.h"
#include "core/sync_contacts.h"
#include "tests/unit/check.h"
#include "tests/unit/cores.h"

static char addresses[2][CONTACT_ADDRESS_BYTES] = {"192.168.1.5:7700", "[2001:db8::5]:7700"};

static void record_of(struct db *db, uint64_t actor, struct buf *ret)
{
	uint64_t at = actor - 1;
	uint64_t time_ms = 0;

	CHECK(contact_next(db, &at, &time_ms, ret) == 1 && at == actor);
}

static bool holds(struct db *db, uint64_t actor, const char *first, size_t count)
{
	struct contact c;

	return contact_get(db, actor, &c) == 0 && c.count == count &&
	       strcmp(c.addresses[0], first) == 0;
}

static void test_latest_counts(struct side *s)
{
	AUTO(buf_fini) struct buf old = {0};
	AUTO(buf_fini) struct buf young = {0};
	uint64_t actor = db_actor(s[0].db);
	uint64_t revision = contact_revision(s[0].db);

	CHECK(contact_set_own(s[0].db, addresses, 2, 5000) == 1);
	CHECK(contact_set_own(s[0].db, addresses, 2, 6000) == 0); /* no news */
	CHECK(contact_revision(s[0].db) > revision);
	record_of(s[0].db, actor, &old);
	CHECK(contact_set_own(s[0].db, addresses + 1, 1, 4000) == 1); /* though the clock went back */
	record_of(s[0].db, actor, &young);
	CHECK(contact_take(s[1].db, buf_slice(&old)) == 1);
	CHECK(holds(s[1].db, actor, addresses[0], 2));
	CHECK(contact_take(s[1].db, buf_slice(&young)) == 1);
	CHECK(contact_take(s[1].db, buf_slice(&young)) == 0);
	CHECK(contact_take(s[1].db, buf_slice(&old)) == 0); /* replayed */
	CHECK(holds(s[1].db, actor, addresses[1], 1));
	/* Its own word nobody can bring back to it. */
	CHECK(contact_take(s[0].db, buf_slice(&old)) == 0 && holds(s[0].db, actor, addresses[1], 1));
}

static void test_forged(struct side *s)
{
	AUTO(buf_fini) struct buf good = {0};
	uint64_t actor = db_actor(s[1].db);

	CHECK(contact_set_own(s[1].db, addresses, 2, 9000) == 1);
	record_of(s[1].db, actor, &good);
	for (size_t i = 0; i < good.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			good.data[i] ^= (uint8_t)(1u << bit);
			CHECK(contact_take(s[0].db, buf_slice(&good)) <= 0);
			good.data[i] ^= (uint8_t)(1u << bit);
		}
		CHECK(contact_take(s[0].db, SLICE(good.data, i)) == -EBADMSG);
	}
	CHECK(!holds(s[0].db, actor, addresses[0], 2));
	CHECK(contact_take(s[0].db, buf_slice(&good)) == 1);
	CHECK(holds(s[0].db, actor, addresses[0], 2));
}

/* The same device in another database: what it said there is not its word here. */
static void test_of_another_database(struct side *s)
{
	AUTO(buf_fini) struct buf record = {0};
	struct side other[1] = {0};
	struct why why;

	other[0].keys = s[1].keys;
	(void)snprintf(other[0].dir, sizeof(other[0].dir), "%s/other", base);
	CHECK(db_create(other[0].dir, "other", other[0].keys, &why) == 0);
	side_open(&other[0]);
	CHECK(contact_set_own(other[0].db, addresses + 1, 1, 99000) == 1);
	record_of(other[0].db, db_actor(s[1].db), &record);
	CHECK(contact_take(s[0].db, buf_slice(&record)) == -EBADMSG);
	db_close(other[0].db);
}

static void test_passed_on_by_a_third(struct side *s)
{
	uint8_t digests[2][8];
	struct wire w = {0};

	for (unsigned i = 0; i + 1 < 3; i++) {
		const struct sync_options a = {
			.db = s[i].db, .peer = db_actor(s[i + 1].db), .endpoint = ""};
		const struct sync_options b = {
			.db = s[i + 1].db, .peer = db_actor(s[i].db), .endpoint = ""};

		w = (struct wire){.from = {sync_create(&a), sync_create(&b)}};
		while ((int)pass(&w, 0) + (int)pass(&w, 1) > 0)
			;
		sync_destroy(w.from[0]);
		sync_destroy(w.from[1]);
	}
	CHECK(holds(s[2].db, db_actor(s[0].db), addresses[1], 1));
	CHECK(holds(s[2].db, db_actor(s[1].db), addresses[0], 2));
	contact_digest(s[1].db, digests[0]);
	contact_digest(s[2].db, digests[1]);
	CHECK(memcmp(digests[0], digests[1], 8) == 0);
}

static void take_early(struct sync_contacts *c, struct db *db, struct slice record)
{
	struct reader r = reader_init(record);

	CHECK(sync_contacts_receive(c, db, &r) == 0);
}

/* A device's record comes before the word that it is a member: kept, and taken when that comes. */
static void test_before_its_member(struct side *s)
{
	AUTO(buf_fini) struct buf record = {0};
	AUTO(buf_fini) struct buf out = {0};
	struct sync_contacts c = {0};
	struct side young = {0};
	struct contact found;

	side_create(&young, 1, 9);
	side_join(&young, &s[0]);
	uint64_t actor = db_actor(young.db);
	CHECK(contact_set_own(young.db, addresses, 2, 7000) == 1);
	record_of(young.db, actor, &record);
	CHECK(contact_take(s[1].db, buf_slice(&record)) == -EAGAIN);
	take_early(&c, s[1].db, buf_slice(&record));
	for (unsigned i = 0; i < 2 * SYNC_CONTACTS_EARLY_MAX; i++)
		take_early(&c, s[1].db, buf_slice(&record)); /* who floods gains nothing */
	CHECK(c.early_count == SYNC_CONTACTS_EARLY_MAX);
	while (sync_contacts_next(&c, s[1].db, db_actor(s[0].db), &out) > 0)
		buf_clear(&out);
	CHECK(contact_get(s[1].db, actor, &found) == -ENOENT);
	(void)talk(&s[0], &s[1]);
	while (sync_contacts_next(&c, s[1].db, db_actor(s[0].db), &out) > 0)
		buf_clear(&out);
	CHECK(holds(s[1].db, actor, addresses[0], 2) && c.early_count == 0);
	sync_contacts_fini(&c);
	side_destroy(&young);
}

int main(void)
{
	char directory[] = "/tmp/test_contact.XXXXXX";
	struct side s[3] = {0};

	digest_init();
	CHECK(mkdtemp(directory));
	(void)snprintf(base, sizeof(base), "%s", directory);
	family(s, 3, 0);
	test_latest_counts(s);
	printf("ok the latest counts\n");
	test_forged(s);
	printf("ok forged\n");
	test_of_another_database(s);
	printf("ok of another database\n");
	test_passed_on_by_a_third(s);
	printf("ok passed on by a third\n");
	test_before_its_member(s);
	printf("ok before its member\n");
	for (unsigned i = 0; i < 3; i++)
		side_destroy(&s[i]);
	(void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
