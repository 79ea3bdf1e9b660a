/*
 * What a relay and its clients are told: messages, ACLs, items, addresses, and what is kept of a log. What is accepted has to
 * survive another round.
 */
#include "core/mailbox.h"
#include "net/ledger.h"
#include "net/mailaddr.h"
#include "relay/holds.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(struct slice bytes)
{
	AUTO(buf_fini) struct buf out = {0};
	struct mail m;

	if (mail_decode(bytes, &m) < 0)
		return;
	mail_encode(&m, &out);
	if (!slice_eq(buf_slice(&out), bytes))
		abort();
}

static void check_acl(struct slice bytes)
{
	struct mail_acl acl = {0};

	if (mail_acl_decode(bytes, &acl) < 0)
		return;
	for (size_t i = 0; i < acl.count; i++) {
		if (mail_acl_find(&acl, acl.entries[i].dh_pk) != &acl.entries[i])
			abort();
	}
	(void)mail_acl_id(&acl);
	mail_acl_fini(&acl);
}

static void check_item(struct slice bytes)
{
	struct mailbox_item item;

	if (mailbox_item_decode(bytes, &item) < 0)
		return;
	if (item.head.len + item.sealed.len != bytes.len ||
	    item.sealed.data != bytes.data + item.head.len)
		abort();
}

static void check_holds(struct slice bytes)
{
	struct mailbox_item stub;
	struct holds holds = {0};

	if (mail_stub_decode(bytes, &stub) == 0 && stub.head.len + DIGEST_BYTES != bytes.len)
		abort();
	if (holds_decode(bytes, &holds) < 0)
		return;
	for (size_t i = 0; i < holds.count; i++) {
		struct mailbox_item item = {
			.tag = holds.items[i].tag, .seq_first = holds.items[i].last, .count = 1};

		if (!holds_cover(&holds, &item))
			abort();
	}
	holds_fini(&holds);
}

static void check_texts(const char *text)
{
	struct mailaddr a;
	struct mailaddr again;
	struct ledger *l = xcalloc(1, sizeof(*l));
	char out[MAILADDR_TEXT_BYTES];
	AUTO(buf_fini) struct buf line = {0};

	if (mailaddr_parse(text, &a, NULL) == 0) {
		mailaddr_format(&a, out);
		if (mailaddr_parse(out, &again, NULL) < 0 ||
		    memcmp(a.dh_pk, again.dh_pk, sizeof(a.dh_pk)) != 0 ||
		    memcmp(a.token, again.token, sizeof(a.token)) != 0)
			abort();
	}
	ledger_decode(l, text);
	ledger_encode(l, &line);
	free(l);
}

/* Any order of what a relay may claim of its log. */
static void check_ledger(struct slice bytes)
{
	struct ledger *l = xcalloc(1, sizeof(*l));
	struct reader r = reader_init(bytes);
	struct mail m = {0};
	uint8_t item_digest[DIGEST_BYTES] = {0};

	while (reader_left(&r) >= 4) {
		uint8_t what = reader_u8(&r);

		m.log.b[0] = what >> 6;
		m.first = reader_u8(&r);
		m.cursor = m.first + reader_u8(&r);
		m.chain[0] = reader_u8(&r);
		struct mailbox_log other = {.log = m.log, .cursor = m.cursor};
		if (what % 4 == 0)
			(void)ledger_open(l, &m);
		else if (what % 4 == 1)
			(void)ledger_next(l, m.cursor, item_digest);
		else if (what % 4 == 2)
			(void)ledger_receipt(l, &m, m.first);
		else
			ledger_compare(l, &other, m.first);
		ledger_tick(l, m.cursor * 1000, LEDGER_PATIENCE_MS);
		if (l->proven > l->cursor)
			abort();
	}
	free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(free_ptr) char *text = xmalloc(size + 1);
	struct slice bytes = SLICE(data, size);

	digest_init();
	memcpy(text, data, size);
	text[size] = 0;
	check_message(bytes);
	check_acl(bytes);
	check_holds(bytes);
	check_item(bytes);
	check_texts(text);
	check_ledger(bytes);
	return 0;
}
