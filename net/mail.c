/* The messages of mode RELAY, as a table. */
#include "net/mail.h"

#include <stdlib.h>
#include <string.h>

/*
 * r request, c cursor, f first, s slots, t time, v version, m mailbox, l log, a acl, h chain, k sign_pk, d durable, e code, x text,
 * b reads, p waits, g signature, n nameplate, w invite; i the rest, at least a byte; z the rest, which may be empty.
 */
static const char *const rows[] = {
	[MAIL_OPEN] = "mlcsp",
	[MAIL_OPENED] = "lfhcvakb",
	[MAIL_CREATE] = "i",
	[MAIL_PUT] = "ri",
	[MAIL_RECEIPT] = "rmlchtdg",
	[MAIL_PUSH] = "ci",
	[MAIL_TAKEN] = "cf",
	[MAIL_HAVE] = "z",
	[MAIL_HAVE_ASK] = "",
	[MAIL_ACL] = "i",
	[MAIL_ACL_SET] = "v",
	[MAIL_ERROR] = "rex",
	[MAIL_PLACED] = "cr",
	[MAIL_SLOT] = "si",
	[MAIL_LACK_ASK] = "i",
	[MAIL_LACK] = "z",
	[MAIL_GET] = "i",
	[MAIL_ITEM] = "i",
	[MAIL_NONE] = "i",
	[MAIL_REFILL] = "",
	[MAIL_PING] = "t",
	[MAIL_PONG] = "t",
	[MAIL_READS] = "bx",
	[MAIL_CERT_ASK] = "",
	[MAIL_CERT] = "i",
	[MAIL_WELCOME] = "i",
	[MAIL_STREAM] = "i",
	[MAIL_HOLD] = "z",
	[MAIL_PASSED] = "ci",
	[MAIL_WAIT] = "rnw",
	[MAIL_WAITS] = "re",
	[MAIL_UNWAIT] = "r",
	[MAIL_KNOCK] = "ri",
	[MAIL_PASS] = "ri",
	[MAIL_HANG_UP] = "r",
};

static uint64_t *number(struct mail *m, char field)
{
	switch (field) {
	case 'r':
		return &m->request;
	case 'c':
		return &m->cursor;
	case 'f':
		return &m->first;
	case 's':
		return &m->slots;
	case 't':
		return &m->time_ms;
	case 'v':
		return &m->version;
	case 'n':
		return &m->nameplate;
	default:
		return NULL;
	}
}

/* Fields of fixed length. */
static uint8_t *fixed(struct mail *m, char field, size_t *ret_len)
{
	switch (field) {
	case 'm':
		*ret_len = sizeof(m->mailbox);
		return m->mailbox.b;
	case 'l':
		*ret_len = sizeof(m->log);
		return m->log.b;
	case 'a':
		*ret_len = sizeof(m->acl);
		return m->acl.b;
	case 'h':
		*ret_len = sizeof(m->chain);
		return m->chain;
	case 'k':
		*ret_len = sizeof(m->sign_pk);
		return m->sign_pk;
	case 'd':
		*ret_len = 1;
		return &m->durable;
	case 'e':
		*ret_len = 1;
		return &m->code;
	case 'p':
		*ret_len = 1;
		return &m->waits;
	case 'b':
		*ret_len = 1;
		return &m->reads;
	case 'g':
		*ret_len = sizeof(m->signature);
		return m->signature;
	case 'w':
		*ret_len = sizeof(m->invite);
		return m->invite;
	default:
		return NULL;
	}
}

void mail_encode(const struct mail *mail, struct buf *out)
{
	struct mail m = *mail;

	assert((size_t)m.type < countof(rows) && rows[m.type]);
	buf_u8(out, (uint8_t)m.type);
	for (const char *f = rows[m.type]; *f; f++) {
		size_t len = 0;
		const uint64_t *n = number(&m, *f);
		const uint8_t *bytes = n ? NULL : fixed(&m, *f, &len);

		if (n)
			buf_varint(out, *n);
		else if (bytes)
			buf_append(out, bytes, len);
		else if (*f == 'x')
			buf_bytes(out, m.text);
		else
			buf_slice_append(out, m.rest);
	}
}

int mail_decode(struct slice message, struct mail *ret)
{
	struct reader r = reader_init(message);
	struct mail m = {.type = (enum mail_type)reader_u8(&r)};

	if (r.bad || (size_t)m.type >= countof(rows) || !rows[m.type])
		return -EBADMSG;
	for (const char *f = rows[m.type]; *f; f++) {
		size_t len = 0;
		uint64_t *n = number(&m, *f);
		uint8_t *bytes = n ? NULL : fixed(&m, *f, &len);

		if (n)
			*n = reader_varint_max(&r, INT64_MAX);
		else if (bytes)
			reader_copy(&r, bytes, len);
		else if (*f == 'x')
			m.text = reader_bytes(&r, MAIL_TEXT_BYTES_MAX);
		else
			m.rest = reader_take(&r, reader_left(&r));
		if (*f == 'i' && m.rest.len == 0)
			return -EBADMSG;
	}
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

/* ---- chain and receipts -------------------------------------------------------------------------- */

void mail_item_digest(struct slice item, uint8_t ret[DIGEST_BYTES])
{
	struct mailbox_item stub;
	uint8_t content[DIGEST_BYTES];

	if (mailbox_head_decode(item, &stub) < 0)
		stub = (struct mailbox_item){.head = item, .sealed = SLICE("", 0)};
	digest(content, "blaze item content", &stub.sealed, 1);
	stub.sealed = SLICE(content, sizeof(content));
	mail_stub_digest(&stub, ret);
}

void mail_stub_digest(const struct mailbox_item *stub, uint8_t ret[DIGEST_BYTES])
{
	const struct slice parts[] = {stub->head, stub->sealed};

	digest(ret, "blaze item", parts, countof(parts));
}

void mail_stub(struct slice item, struct buf *out)
{
	struct mailbox_item whole;
	uint8_t content[DIGEST_BYTES];
	int r = mailbox_head_decode(item, &whole);

	assert(r == 0); /* it is in the log */
	digest(content, "blaze item content", &whole.sealed, 1);
	buf_slice_append(out, whole.head);
	buf_append(out, content, sizeof(content));
}

int mail_stub_decode(struct slice stub, struct mailbox_item *ret)
{
	struct mailbox_item item;
	int r = mailbox_head_decode(stub, &item);

	if (r < 0 || item.sealed.len != DIGEST_BYTES)
		return -EBADMSG;
	*ret = item;
	return 0;
}

void mail_chain(const uint8_t before[DIGEST_BYTES], uint64_t cursor,
		const uint8_t item_digest[DIGEST_BYTES], uint8_t ret[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf number_bytes = {0};

	buf_be64(&number_bytes, cursor);
	const struct slice parts[] = {
		SLICE(before, DIGEST_BYTES),
		buf_slice(&number_bytes),
		SLICE(item_digest, DIGEST_BYTES),
	};
	digest(ret, "blaze chain", parts, countof(parts));
}

void mail_chain_start(const struct id *log, uint8_t ret[DIGEST_BYTES])
{
	memset(ret, 0, DIGEST_BYTES);
	memcpy(ret, log->b, sizeof(log->b));
}

static struct slice receipt_text(const struct mail *m, struct buf *out)
{
	buf_append(out, "blaze receipt", strlen("blaze receipt"));
	id_write(out, &m->mailbox);
	id_write(out, &m->log);
	buf_varint(out, m->cursor);
	buf_append(out, m->chain, sizeof(m->chain));
	buf_varint(out, m->time_ms);
	buf_u8(out, m->durable);
	return buf_slice(out);
}

void mail_sign_receipt(const struct keys *keys, struct mail *receipt)
{
	AUTO(buf_fini) struct buf text = {0};

	keys_sign(keys, receipt_text(receipt, &text), receipt->signature);
}

bool mail_receipt_is_signed(const struct mail *receipt, const uint8_t sign_pk[KEYS_PK_BYTES])
{
	AUTO(buf_fini) struct buf text = {0};

	return keys_verify(sign_pk, receipt_text(receipt, &text), receipt->signature);
}

/* ---- ACL ----------------------------------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
	const struct mail_acl_entry *x = a;
	const struct mail_acl_entry *y = b;

	return memcmp(x->dh_pk, y->dh_pk, sizeof(x->dh_pk));
}

void mail_acl_sort(struct mail_acl *acl)
{
	if (acl->count > 0)
		qsort(acl->entries, acl->count, sizeof(*acl->entries), compare_entries);
}

uint8_t mail_rights(enum member_role role)
{
	switch (role) {
	case MEMBER_RELAY:
		return 0; /* it is not one's own device: what it may have, it is given */
	case MEMBER_READ:
		return MAIL_GET_RIGHT;
	case MEMBER_WRITE:
		return MAIL_GET_RIGHT | MAIL_PUT_RIGHT;
	case MEMBER_MANAGE:
	case MEMBER_OWNER:
		return MAIL_GET_RIGHT | MAIL_PUT_RIGHT | MAIL_ADMIN_RIGHT;
	}
	return 0;
}

struct id mail_acl_id(const struct mail_acl *acl)
{
	const struct slice part = SLICE(acl->entries, acl->count * sizeof(*acl->entries));

	static_assert(sizeof(*acl->entries) == 2 * KEYS_PK_BYTES + 1, "no padding");
	return digest_id("blaze acl", &part, 1);
}

static struct slice acl_text(struct slice body, struct buf *out)
{
	buf_append(out, "blaze acl", strlen("blaze acl"));
	buf_slice_append(out, body);
	return buf_slice(out);
}

void mail_acl_encode(const struct mail_acl *acl, const struct keys *keys, struct buf *out)
{
	AUTO(buf_fini) struct buf body = {0};
	AUTO(buf_fini) struct buf text = {0};
	uint8_t signature[KEYS_SIGNATURE_BYTES];

	buf_u8(&body, MAIL_ACL_VERSION);
	id_write(&body, &acl->mailbox);
	buf_varint(&body, acl->version);
	buf_varint(&body, acl->count);
	for (size_t i = 0; i < acl->count; i++) {
		const struct mail_acl_entry *e = &acl->entries[i];

		buf_append(&body, e->dh_pk, sizeof(e->dh_pk));
		buf_append(&body, e->sign_pk, sizeof(e->sign_pk));
		buf_u8(&body, e->rights);
	}
	keys_sign(keys, acl_text(buf_slice(&body), &text), signature);
	buf_slice_append(out, buf_slice(&body));
	buf_append(out, signature, sizeof(signature));
}

int mail_acl_decode(struct slice bytes, struct mail_acl *ret)
{
	struct reader r = reader_init(bytes);
	struct mail_acl acl = {0};

	if (reader_u8(&r) != MAIL_ACL_VERSION)
		return -EBADMSG;
	acl.mailbox = id_read(&r);
	acl.version = reader_varint_max(&r, INT64_MAX);
	size_t count = (size_t)reader_varint_max(&r, MAIL_ACL_ENTRIES_MAX);
	if (r.bad || count == 0 ||
	    reader_left(&r) != count * (2 * KEYS_PK_BYTES + 1) + KEYS_SIGNATURE_BYTES)
		return -EBADMSG;
	acl.entries = xcalloc(count, sizeof(*acl.entries));
	for (size_t i = 0; i < count; i++) {
		struct mail_acl_entry *e = &acl.entries[acl.count++];

		reader_copy(&r, e->dh_pk, sizeof(e->dh_pk));
		reader_copy(&r, e->sign_pk, sizeof(e->sign_pk));
		e->rights = reader_u8(&r);
		if (i > 0 && compare_entries(e - 1, e) >= 0) {
			mail_acl_fini(&acl);
			return -EBADMSG;
		}
	}
	*ret = acl;
	return 0;
}

bool mail_acl_is_signed(struct slice bytes, const uint8_t sign_pk[KEYS_PK_BYTES])
{
	AUTO(buf_fini) struct buf text = {0};

	assert(bytes.len > KEYS_SIGNATURE_BYTES);
	struct slice body = SLICE(bytes.data, bytes.len - KEYS_SIGNATURE_BYTES);
	return keys_verify(sign_pk, acl_text(body, &text), body.data + body.len);
}

void mail_acl_fini(struct mail_acl *acl)
{
	free(acl->entries);
	*acl = (struct mail_acl){0};
}

const struct mail_acl_entry *mail_acl_find(const struct mail_acl *acl,
					   const uint8_t dh_pk[KEYS_PK_BYTES])
{
	struct mail_acl_entry key;

	memcpy(key.dh_pk, dh_pk, sizeof(key.dh_pk));
	return acl->count ? bsearch(&key, acl->entries, acl->count, sizeof(key), compare_entries)
			  : NULL;
}
