/* The relay's mailboxes on a real store: what stays, what goes, and what a restart finds. */
#include "relay/box.h"
#include "relay/holds.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1000000

static char base[256];
static const struct box_limits limits = {.boxes = 2, .box_bytes = 20000, .box_items = 50};

static struct boxes *open_boxes(void)
{
	struct relay_store *store = NULL;
	struct boxes *boxes = NULL;
	struct why why = {""};

	assert(relay_store_open_leveldb(base, &store, &why) == 0);
	assert(boxes_create(store, &limits, &boxes) == 0);
	return boxes;
}

static void make_acl(const struct keys *keys, uint8_t mailbox, uint64_t version, struct buf *out)
{
	struct mail_acl_entry entry = {.rights = MAIL_GET_RIGHT | MAIL_PUT_RIGHT | MAIL_ADMIN_RIGHT};
	struct mail_acl acl = {
		.mailbox = {{mailbox}}, .version = version, .entries = &entry, .count = 1};

	memcpy(entry.dh_pk, keys_device(keys)->dh_pk, sizeof(entry.dh_pk));
	memcpy(entry.sign_pk, keys_device(keys)->sign_pk, sizeof(entry.sign_pk));
	buf_clear(out);
	mail_acl_encode(&acl, keys, out);
}

static uint8_t item_tag = 7;

static int append(struct box *b, uint64_t first, uint64_t count, uint64_t now_ms)
{
	uint8_t bytes[400] = {MAILBOX_ENVELOPE, 7};
	struct mailbox_item item = {.kind = MAILBOX_ENVELOPE, .seq_first = first, .count = count};
	uint64_t cursor = 0;

	item.tag.b[0] = item_tag;
	bytes[20] = (uint8_t)first;
	int r = box_append(b, &item, SLICE(bytes, sizeof(bytes)), now_ms, &cursor);
	assert(r <= 0 || cursor == b->head);
	return r;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* Feeds are contiguous, quotas hold, the chain is the one a client computes. */
static void test_log(struct boxes *boxes, const struct id *id)
{
	AUTO(buf_fini) struct buf item = {0};
	uint8_t chain[DIGEST_BYTES];
	uint8_t item_digest[DIGEST_BYTES];
	uint8_t stored[DIGEST_BYTES];
	struct box *b = NULL;
	int r = 0;

	assert(box_open(boxes, id, &b) == 0);
	assert(append(b, 1, 3, NOW) == 1 && append(b, 1, 3, NOW) == 0 && append(b, 2, 2, NOW) == 0);
	assert(append(b, 5, 1, NOW) == -ENOTCONN && append(b, 4, 1, NOW) == 1);
	item_tag = 8; /* a feed goes on under another tag */
	assert(append(b, 9, 1, NOW) == 1 && append(b, 11, 1, NOW) == -ENOTCONN);
	item_tag = 7;
	for (uint64_t seq = 5; (r = append(b, seq, 1, NOW)) == 1; seq++)
		;
	assert(r == -EDQUOT && b->head > 20);
	mail_chain_start(&b->log, chain);
	for (uint64_t cursor = 1; cursor <= b->head; cursor++) {
		assert(box_read(b, cursor, &item) == 0);
		mail_item_digest(buf_slice(&item), item_digest);
		mail_chain(chain, cursor, item_digest, chain);
		assert(box_chain(b, cursor, stored) == 0 &&
		       memcmp(chain, stored, sizeof(chain)) == 0);
	}
	box_unref(b);
}

/* HOLD: a stub stands for its item in the chain, and for no other; what is held is covered to its end, and no more. */
static void test_stubs(void)
{
	AUTO(buf_fini) struct buf item = {0};
	AUTO(buf_fini) struct buf stub = {0};
	AUTO(buf_fini) struct buf list = {0};
	uint8_t of_item[DIGEST_BYTES];
	uint8_t of_stub[DIGEST_BYTES];
	struct mailbox_item head;
	struct holds holds = {0};
	uint8_t sealed[100] = {9};

	buf_u8(&item, MAILBOX_ENVELOPE);
	buf_be64(&item, 5);
	id_write(&item, &(struct id){{7}});
	buf_varint(&item, 1);
	buf_varint(&item, 3);
	buf_append(&item, sealed, sizeof(sealed));
	assert(mailbox_item_decode(buf_slice(&item), &head) == 0);
	mail_item_digest(buf_slice(&item), of_item);
	mail_stub(buf_slice(&item), &stub);
	assert(mail_stub_decode(buf_slice(&stub), &head) == 0);
	assert(head.seq_first == 1 && head.count == 3);
	mail_stub_digest(&head, of_stub);
	assert(memcmp(of_item, of_stub, sizeof(of_item)) == 0);
	/* Another feed's item cannot be passed off as this one: not a byte may be another. */
	for (size_t i = 0; i < stub.len; i++) {
		stub.data[i] ^= 1;
		if (mail_stub_decode(buf_slice(&stub), &head) == 0) {
			mail_stub_digest(&head, of_stub);
			assert(memcmp(of_item, of_stub, sizeof(of_item)) != 0);
		}
		stub.data[i] ^= 1;
	}
	assert(mail_stub_decode(SLICE(stub.data, stub.len - 1), &head) == -EBADMSG);
	assert(mail_stub_decode(buf_slice(&item), &head) == -EBADMSG);

	assert(mail_stub_decode(buf_slice(&stub), &head) == 0);
	id_write(&list, &head.tag);
	buf_varint(&list, 2);
	assert(holds_decode(buf_slice(&list), &holds) == 0 && !holds_cover(&holds, &head));
	holds_fini(&holds);
	list.data[list.len - 1] = 3;
	assert(holds_decode(buf_slice(&list), &holds) == 0 && holds_cover(&holds, &head));
	head.tag.b[0] ^= 1;
	assert(!holds_cover(&holds, &head));
	holds_fini(&holds);
	buf_append(&list, list.data, 17); /* twice */
	assert(holds_decode(buf_slice(&list), &holds) == -EBADMSG);
	assert(holds_decode(SLICE(list.data, 16), &holds) == -EBADMSG);
	assert(holds_decode(SLICE("", 0), &holds) == 0 && !holds_cover(&holds, &head));
	holds_fini(&holds);
}

/* What is taken by all goes while the mailbox is more than half full; what is old goes. Then a new log may be asked for. */
static void test_retention(struct boxes *boxes, const struct id *id, const struct keys *keys)
{
	struct box *b = NULL;

	assert(box_open(boxes, id, &b) == 0);
	uint64_t head = b->head;
	struct id log = b->log;
	assert(box_trim(b, 1000, NOW) == 0 && b->first == 0);
	assert(box_refill(b, NOW + BOX_REFILL_MS) == 0); /* nothing was trimmed */
	assert(box_take(b, keys_device(keys)->dh_pk, head, NOW) == 0);
	assert(box_trim(b, 1000, NOW) == 1 && b->first > 0 && b->first < head);
	uint64_t first = b->first;
	assert(box_trim(b, 1000, NOW) == 0 && b->first == first);
	assert(box_trim(b, 1000, NOW + BOX_KEEP_MS + 1) == 1 && b->first == head);
	assert(append(b, 1, 1, NOW) == 0); /* what went is still known to have been there */
	assert(box_refill(b, NOW + BOX_REFILL_MS - 1) == 0);
	assert(box_refill(b, NOW + BOX_REFILL_MS) == 1 && !id_eq(&b->log, &log) && b->head == 0);
	assert(b->feed_count == 0 && append(b, 1, 1, NOW) == 1);
	/* One slot a device. */
	uint64_t number = 0;
	AUTO(buf_fini) struct buf slot = {0};
	const uint8_t other[KEYS_PK_BYTES] = {9};
	assert(box_put_slot(b, keys_device(keys)->dh_pk, SLICE_STR("one")) == 0);
	assert(box_put_slot(b, other, SLICE_STR("other")) == 0);
	assert(box_put_slot(b, keys_device(keys)->dh_pk, SLICE_STR("two")) == 0 &&
	       b->slot_count == 2);
	assert(box_next_slot(b, &number, &slot) == 1 && slice_eq(buf_slice(&slot), SLICE_STR("two")));
	assert(box_next_slot(b, &number, &slot) == 0); /* who is not on the list is of no interest */
	box_unref(b);
}

static void test_access(struct boxes *boxes, const struct id *id, const struct keys *keys,
			const struct keys *stranger)
{
	AUTO(buf_fini) struct buf acl = {0};
	struct box *b = NULL;

	assert(box_open(boxes, id, &b) == 0);
	make_acl(stranger, 1, 2, &acl);
	assert(box_set_acl(b, buf_slice(&acl)) == -EACCES);
	make_acl(keys, 1, 3, &acl);
	assert(box_set_acl(b, buf_slice(&acl)) == -ESTALE);
	make_acl(keys, 9, 2, &acl);
	assert(box_set_acl(b, buf_slice(&acl)) == -EBADMSG);
	make_acl(keys, 1, 2, &acl);
	assert(box_set_acl(b, buf_slice(&acl)) == 0 && b->acl.version == 2);
	box_unref(b);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	const struct id id = {{1}};
	AUTO(buf_fini) struct buf acl = {0};
	struct keys *keys = NULL;
	struct keys *stranger = NULL;
	struct box *b = NULL;
	struct why why;

	digest_init();
	(void)snprintf(base, sizeof(base), "%s/blaze-box-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	AUTO(free_ptr) char *one = xasprintf("%s/one", base);
	AUTO(free_ptr) char *two = xasprintf("%s/two", base);
	assert(keys_create(one, "one", &keys, &why) == 0);
	assert(keys_create(two, "two", &stranger, &why) == 0);
	struct boxes *boxes = open_boxes();
	assert(box_open(boxes, &id, &b) == -ENOENT);
	for (uint8_t i = 1; i <= 3; i++) {
		make_acl(keys, i, 1, &acl);
		int r = box_create(boxes, buf_slice(&acl), NOW, &b);
		assert(r == (i <= limits.boxes ? 0 : -EDQUOT));
		if (r == 0)
			box_unref(b);
	}
	test_log(boxes, &id);
	test_stubs();
	test_access(boxes, &id, keys, stranger);
	boxes_destroy(boxes);
	boxes = open_boxes(); /* a restart finds all of it */
	assert(boxes_count(boxes) == 2);
	test_retention(boxes, &id, keys);
	boxes_destroy(boxes);
	keys_destroy(keys);
	keys_destroy(stranger);
	assert(nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
