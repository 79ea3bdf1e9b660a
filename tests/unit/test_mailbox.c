/* Items between databases through a place that only keeps bytes; and what is believed of a relay's log. */
#include "tests/unit/cores.h"

#include "core/db_i.h"
#include "core/mailbox.h"
#include "net/ledger.h"

struct shelf {
	struct buf *items;
	size_t count;
};

static void put_all(struct mailbox *m, struct shelf *p)
{
	struct buf item = {0};
	int r;

	while ((r = mailbox_next(m, 1, &item)) != MAILBOX_NOTHING) {
		assert(r == MAILBOX_PUT);
		p->items = xreallocarray(p->items, p->count + 1, sizeof(*p->items));
		p->items[p->count++] = item;
		item = (struct buf){0};
	}
	buf_fini(&item);
}

static void shelf_fini(struct shelf *p)
{
	for (size_t i = 0; i < p->count; i++)
		buf_fini(&p->items[i]);
	free(p->items);
	*p = (struct shelf){0};
}

static void make_node(struct side *s, const char *name)
{
	struct txn *t = db_begin(s->db);
	struct id root = db_root(s->db);
	struct id node;

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &node);
	assert(db_put_node(t, &node, NODE_RECORD, &root, name) >= 0);
	assert(db_put_content(t, &node, NULL, SLICE_STR("text\n")) >= 0);
	assert(db_commit(t) == 0);
	assert(db_seal(s->db) == 0);
}

static uint64_t total(struct db *db)
{
	struct feed_pos *have = NULL;
	size_t n = db_have(db, &have);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += have[i].seq;
	free(have);
	return sum;
}

/* In any order, twice, and with damage in between: what is good is applied once, and nothing else. */
static void test_items(void)
{
	struct side sides[2];
	struct shelf p = {0};

	family(sides, 2, 1);
	(void)talk(&sides[0], &sides[1]);
	for (unsigned i = 0; i < 20; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "r%u", i);
		make_node(&sides[0], name);
	}
	struct mailbox *a = mailbox_create(sides[0].db, 7);
	struct mailbox *b = mailbox_create(sides[1].db, 7);
	assert(mailbox_start(a, SLICE("", 0)) == 0);
	put_all(a, &p);
	assert(p.count >= 20);
	for (size_t i = p.count; i-- > 0;) { /* backwards: each waits for the one before */
		for (size_t bit = 0; bit < 8 * p.items[i].len; bit += 1 + rnd(97)) {
			p.items[i].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			/* Whether another epoch's key is on its way cannot be told before all is here. */
			int want = bit / 8 >= 1 && bit / 8 <= 8 && mailbox_is_waiting(b) ? -ENOKEY
											 : -EBADMSG;
			assert(mailbox_take(b, buf_slice(&p.items[i])) == want);
			p.items[i].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert(mailbox_take(b, buf_slice(&p.items[i])) == 0);
	}
	assert(mailbox_retry(b) == 0 && !mailbox_is_waiting(b) &&
	       total(sides[0].db) == total(sides[1].db));
	for (size_t i = 0; i < p.count; i++)
		assert(mailbox_take(b, buf_slice(&p.items[i])) == 0);
	assert(total(sides[0].db) == total(sides[1].db));
	/* What came from the place is not put there. */
	struct shelf back = {0};
	assert(mailbox_start(b, SLICE("", 0)) == 0);
	put_all(b, &back);
	for (size_t i = 0; i < back.count; i++)
		assert(mailbox_take(a, buf_slice(&back.items[i])) == 0);
	assert(back.count < p.count);
	shelf_fini(&back);
	shelf_fini(&p);
	mailbox_destroy(a);
	mailbox_destroy(b);
	side_destroy(&sides[0]);
	side_destroy(&sides[1]);
}

static size_t put_count(struct mailbox *m, uint64_t now)
{
	AUTO(buf_fini) struct buf item = {0};
	size_t n = 0;

	while (mailbox_next(m, now, &item) == MAILBOX_PUT)
		n++;
	return n;
}

/* A spare is told later of what was made here, and still later of what others made; it gets all, once. */
static void test_spare(void)
{
	struct side sides[2];

	family(sides, 2, 4);
	(void)talk(&sides[0], &sides[1]);
	struct mailbox *used = mailbox_create(sides[0].db, 7);
	struct mailbox *spare = mailbox_create(sides[0].db, 9);
	mailbox_set_spare(spare, true);
	assert(mailbox_start(used, SLICE("", 0)) == 0 && mailbox_start(spare, SLICE("", 0)) == 0);
	size_t all = put_count(used, 1);
	assert(all > 0 && put_count(spare, 1) == all); /* what it lacks when it is opened, it gets */

	make_node(&sides[0], "mine");
	size_t mine = put_count(used, 1000);
	assert(mine > 0 && put_count(spare, 1000) == 0);
	assert(mailbox_due_ms(spare) == 1000 + MAILBOX_SPARE_MS);
	make_node(&sides[1], "other");
	(void)talk(&sides[0], &sides[1]);
	assert(put_count(used, 1100) == 0 && mailbox_due_ms(used) == 1100 + MAILBOX_FOREIGN_MS);
	assert(put_count(spare, 1100) == 0);
	assert(put_count(spare, 1000 + MAILBOX_SPARE_MS - 1) == 0);
	assert(put_count(spare, 1000 + MAILBOX_SPARE_MS) == mine);
	size_t others = put_count(used, 1100 + MAILBOX_FOREIGN_MS);
	assert(others > 0 && put_count(spare, 1100 + MAILBOX_FOREIGN_MS) == others);
	assert(mailbox_due_ms(used) == UINT64_MAX && mailbox_due_ms(spare) == UINT64_MAX);

	/* FAILOVER: what waits is put at once when it is used, and not again by the clock. */
	make_node(&sides[0], "third");
	assert(put_count(spare, 9000) == 0);
	mailbox_set_spare(spare, false);
	mine = put_count(spare, 9001);
	assert(mine > 0 && mailbox_due_ms(spare) == UINT64_MAX);
	assert(put_count(spare, 9000 + MAILBOX_FOREIGN_MS) == 0 && put_count(used, 9001) == mine);
	mailbox_destroy(used);
	mailbox_destroy(spare);
	side_destroy(&sides[0]);
	side_destroy(&sides[1]);
}

/* An item of another database, and one at another's place. */
static void test_foreign_items(void)
{
	struct side mine;
	struct side other;
	struct shelf p = {0};

	family(&mine, 1, 2);
	family(&other, 1, 3);
	make_node(&other, "x");
	make_node(&other, "y");
	struct mailbox *from = mailbox_create(other.db, 7);
	struct mailbox *to = mailbox_create(mine.db, 7);
	uint64_t before = total(mine.db);
	assert(mailbox_start(from, SLICE("", 0)) == 0);
	put_all(from, &p);
	assert(p.count >= 2);
	for (size_t i = 0; i < p.count; i++)
		assert(mailbox_take(to, buf_slice(&p.items[i])) == -EBADMSG);
	memcpy(p.items[0].data, p.items[1].data, 1 + 8 + 16 + 1); /* at another's place in the feed */
	assert(mailbox_take(from, buf_slice(&p.items[0])) == -EBADMSG);
	assert(total(mine.db) == before && !mailbox_is_waiting(to));
	shelf_fini(&p);
	mailbox_destroy(from);
	mailbox_destroy(to);
	side_destroy(&mine);
	side_destroy(&other);
}

/* ---- KEY EPOCH ----------------------------------------------------------------------------------- */

static struct mailbox_item item_at(const struct shelf *p, size_t i)
{
	struct mailbox_item item;

	assert(i < p->count && mailbox_item_decode(buf_slice(&p->items[i]), &item) == 0);
	return item;
}

/* Takes all from there on: those under `epoch` with 0, the others with that result. */
static size_t take_all(struct mailbox *m, const struct shelf *p, size_t first, uint64_t epoch,
		       int others)
{
	size_t count = 0;

	for (size_t i = first; i < p->count; i++) {
		bool is_other = item_at(p, i).epoch != epoch;

		assert(mailbox_take(m, buf_slice(&p->items[i])) == (is_other ? others : 0));
		count += is_other;
	}
	return count;
}

/* What is put after a removal, the removed device can neither open nor tell whose it is, though it has all of it. */
static void test_removed(void)
{
	struct side s[3];
	struct shelf p = {0};
	struct why why = {""};

	family(s, 3, 14);
	(void)talk(&s[0], &s[1]);
	(void)talk(&s[0], &s[2]);
	struct mailbox *a = mailbox_create(s[0].db, 7);
	struct mailbox *b = mailbox_create(s[1].db, 7);
	struct mailbox *removed = mailbox_create(s[2].db, 7);
	make_node(&s[0], "before");
	assert(mailbox_start(a, SLICE("", 0)) == 0 && mailbox_start(b, SLICE("", 0)) == 0);
	put_all(a, &p);
	const struct mailbox_item before = item_at(&p, p.count - 1);
	assert(take_all(b, &p, 0, before.epoch, 0) == 0);
	assert(take_all(removed, &p, 0, before.epoch, 0) == 0);

	/* b hears of the removal elsewhere: the place gets that before anything under the key, though others made it. */
	size_t old = p.count;
	assert(db_remove_member(s[0].db, db_actor(s[2].db), &why) == 0);
	(void)talk(&s[0], &s[1]);
	make_node(&s[1], "after");
	put_all(b, &p);
	assert(item_at(&p, old).epoch == before.epoch && p.count > old + 1);
	assert(item_at(&p, p.count - 1).epoch != before.epoch);

	/* a goes on with its feed under another tag, with the next number. */
	make_node(&s[0], "more");
	put_all(a, &p);
	const struct mailbox_item after = item_at(&p, p.count - 1);
	assert(after.epoch != before.epoch && !id_eq(&after.tag, &before.tag));
	assert(after.seq_first == before.seq_first + before.count);

	uint64_t had = total(s[2].db);
	assert(take_all(removed, &p, old, before.epoch, -ENOKEY) >= 2);
	assert(mailbox_awaits_key(removed) && !mailbox_key_came(removed) && db_is_removed(s[2].db));
	assert(total(s[2].db) > had); /* it hears that it was removed */
	/* Nor is it one of its own keys under another's name. */
	struct buf *bytes = &p.items[p.count - 1];
	memcpy(bytes->data + 1, p.items[0].data + 1, 8);
	assert(mailbox_take(removed, buf_slice(bytes)) == -EBADMSG);
	shelf_fini(&p);
	mailbox_destroy(a);
	mailbox_destroy(b);
	mailbox_destroy(removed);
	for (unsigned i = 0; i < 3; i++)
		side_destroy(&s[i]);
}

/* Who was admitted while another removed somebody has no key of the new epoch until it is shared: it waits, and reads again. */
static void test_key_comes_late(void)
{
	struct side s[4];
	struct shelf p = {0};
	struct why why = {""};

	family(s, 3, 15);
	(void)talk(&s[0], &s[1]);
	side_create(&s[3], 15, 3);
	assert(db_remove_member(s[0].db, db_actor(s[2].db), &why) == 0);
	side_join(&s[3], &s[1]); /* s[1] has not heard of it */
	make_node(&s[0], "secret");
	struct mailbox *a = mailbox_create(s[0].db, 7);
	struct mailbox *late = mailbox_create(s[3].db, 7);
	assert(mailbox_start(a, SLICE("", 0)) == 0);
	put_all(a, &p);
	uint64_t first = item_at(&p, 0).epoch; /* `auth` */
	size_t kept = take_all(late, &p, 0, first, -ENOKEY);
	assert(kept > 0 && mailbox_is_waiting(late) && mailbox_awaits_key(late));
	assert(mailbox_retry(late) == 0 && mailbox_awaits_key(late) && !mailbox_key_came(late));
	(void)talk(&s[0], &s[1]);
	(void)talk(&s[1], &s[3]);
	assert(mailbox_key_came(late));
	mailbox_reset(late);
	assert(!mailbox_is_waiting(late) && take_all(late, &p, 0, first, 0) == kept);
	expect_equal((struct side[]){s[0], s[3]}, 2, "what waited for a key");
	/* An epoch that nobody has named is somebody's invention. */
	p.items[p.count - 1].data[1] ^= 1;
	assert(mailbox_take(late, buf_slice(&p.items[p.count - 1])) == -EBADMSG);
	shelf_fini(&p);
	mailbox_destroy(a);
	mailbox_destroy(late);
	for (unsigned i = 0; i < 4; i++)
		side_destroy(&s[i]);
}

/* A device that may only read puts nothing, and says in its slot what it has. */
static void test_reader(void)
{
	struct side s[2];
	struct why why = {""};
	AUTO(buf_fini) struct buf slot = {0};
	AUTO(buf_fini) struct buf item = {0};

	assert(mail_rights(MEMBER_RELAY) == 0 && mail_rights(MEMBER_READ) == MAIL_GET_RIGHT);
	assert(mail_rights(MEMBER_WRITE) == (MAIL_GET_RIGHT | MAIL_PUT_RIGHT));
	assert(mail_rights(MEMBER_MANAGE) & MAIL_ADMIN_RIGHT);
	family(s, 2, 16);
	make_node(&s[0], "x");
	(void)talk(&s[0], &s[1]);
	assert(db_set_role(s[0].db, db_actor(s[1].db), MEMBER_READ, &why) == 0);
	(void)talk(&s[0], &s[1]);
	assert(db_own_role(s[1].db) == MEMBER_READ && db_own_role(s[0].db) == MEMBER_OWNER);
	struct mailbox *reader = mailbox_create(s[1].db, 7);
	assert(mailbox_start(reader, SLICE("", 0)) == 0);
	assert(mailbox_next(reader, 1, &item) == MAILBOX_NOTHING &&
	       mailbox_due_ms(reader) == UINT64_MAX);
	assert(mailbox_next_slot(reader, NULL, 0, false, &slot) == 1 && slot.len > 0);
	mailbox_destroy(reader);
	side_destroy(&s[0]);
	side_destroy(&s[1]);
}

/* ---- the ledger ---------------------------------------------------------------------------------- */

static struct ledger *ledger_new(void)
{
	struct ledger *l = xcalloc(1, sizeof(*l));

	ledger_decode(l, "");
	return l;
}

static void see(struct ledger *l, unsigned from, unsigned to, uint8_t what)
{
	for (unsigned i = from; i <= to; i++) {
		uint8_t item_digest[DIGEST_BYTES] = {(uint8_t)i, what};

		assert(ledger_next(l, i, item_digest) == 0);
	}
}

static void test_ledger(void)
{
	struct ledger *a = ledger_new();
	struct ledger *b = ledger_new();
	struct mail opened = {.log = {{1}}};
	AUTO(buf_fini) struct buf text = {0};

	mail_chain_start(&opened.log, opened.chain);
	assert(ledger_open(a, &opened) == 1 && ledger_open(b, &opened) == 1);
	see(a, 1, 10, 0);
	see(b, 1, 10, 0);
	assert(memcmp(a->chain, b->chain, sizeof(a->chain)) == 0);
	uint8_t none[DIGEST_BYTES] = {0};
	assert(ledger_next(a, 12, none) == -EBADMSG && ledger_next(a, 10, none) == -EBADMSG);

	/* Durable on both sides up to 8: that is where it goes on after a restart. */
	struct mail receipt = {.log = opened.log, .cursor = 10};
	memcpy(receipt.chain, a->chain, sizeof(receipt.chain));
	assert(ledger_receipt(a, &receipt, 8) == 1 && a->proven == 8 && !a->alarm[0]);
	ledger_encode(a, &text);
	struct ledger *again = ledger_new();
	ledger_decode(again, buf_str(&text));
	assert(again->cursor == 8 && memcmp(again->chain, a->proven_chain, DIGEST_BYTES) == 0);

	/* ROLLBACK */
	struct mail back = {.log = opened.log, .cursor = 5};
	mail_chain_start(&back.log, back.chain);
	assert(ledger_open(again, &back) == 1 && again->alarm[0] && again->cursor == 0);

	/* FORK: other items from 11 on, as a slot tells. */
	see(a, 11, 12, 0);
	see(b, 11, 12, 1);
	struct mailbox_log other = {.log = opened.log, .cursor = 12};
	memcpy(other.chain, b->chain, sizeof(other.chain));
	ledger_compare(a, &other, 0);
	assert(strstr(a->alarm, "another log"));

	/* WITHHOLDING: 15 was shown to another, and does not come; in time, it would be nothing. */
	other.cursor = 15;
	b->alarm[0] = 0;
	ledger_compare(b, &other, 1000);
	ledger_tick(b, 1000 + LEDGER_PATIENCE_MS - 1, LEDGER_PATIENCE_MS);
	assert(!b->alarm[0]);
	ledger_tick(b, 1000 + LEDGER_PATIENCE_MS, LEDGER_PATIENCE_MS);
	assert(strstr(b->alarm, "keeps back"));
	free(a);
	free(b);
	free(again);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	digest_init();
	(void)snprintf(base, sizeof(base), "%s/blaze-mailbox-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	test_ledger();
	test_items();
	test_foreign_items();
	test_spare();
	test_removed();
	test_key_comes_late();
	test_reader();
	assert(nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
