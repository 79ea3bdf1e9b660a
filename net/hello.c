/* The clear messages before a handshake. */
#include "net/hello.h"

#include <string.h>

void hello_encode(const struct hello *h, struct buf *out)
{
	AUTO(buf_fini) struct buf body = {0};

	if (h->mode == HELLO_SYNC || h->mode == HELLO_RECOVER) {
		buf_append(&body, h->nonce, sizeof(h->nonce));
		id_write(&body, &h->hint);
		buf_append(&body, h->without, h->without_count * HELLO_TAG_BYTES);
	} else if (h->mode == HELLO_LINK) {
		buf_append(&body, h->invite, sizeof(h->invite));
	} else if (h->mode == HELLO_CODE) {
		buf_varint(&body, h->nameplate);
		buf_append(&body, h->sid, sizeof(h->sid));
		buf_append(&body, h->share, sizeof(h->share));
	}
	buf_u8(out, HELLO_MAGIC);
	buf_u8(out, h->version_min);
	buf_u8(out, h->version_max);
	buf_u8(out, (uint8_t)h->mode);
	buf_u8(out, h->features);
	buf_bytes(out, buf_slice(&body));
}

static int decode_body(struct slice body, struct hello *h)
{
	struct reader r = reader_init(body);

	switch (h->mode) {
	case HELLO_SYNC:
		reader_copy(&r, h->nonce, sizeof(h->nonce));
		h->hint = id_read(&r);
		break;
	case HELLO_RECOVER:
		reader_copy(&r, h->nonce, sizeof(h->nonce));
		h->hint = id_read(&r);
		while (reader_left(&r) > 0 && h->without_count < HELLO_WITHOUT_MAX)
			reader_copy(&r, h->without[h->without_count++], HELLO_TAG_BYTES);
		break;
	case HELLO_LINK:
		reader_copy(&r, h->invite, sizeof(h->invite));
		break;
	case HELLO_CODE:
		h->nameplate = (uint32_t)reader_varint_max(&r, HELLO_NAMEPLATE_MAX);
		reader_copy(&r, h->sid, sizeof(h->sid));
		reader_copy(&r, h->share, sizeof(h->share));
		if (h->nameplate == 0)
			return -EBADMSG;
		break;
	case HELLO_RELAY:
		break;
	default:
		return -EPROTONOSUPPORT;
	}
	return reader_finish(&r);
}

int hello_decode(struct slice message, struct hello *ret)
{
	struct reader r = reader_init(message);
	struct hello h = {0};

	if (reader_u8(&r) != HELLO_MAGIC)
		return -EBADMSG;
	h.version_min = reader_u8(&r);
	h.version_max = reader_u8(&r);
	h.mode = (enum hello_mode)reader_u8(&r);
	h.features = reader_u8(&r);
	struct slice body = reader_bytes(&r, HELLO_BYTES_MAX);
	if (r.bad || h.version_min > h.version_max)
		return -EBADMSG;
	if (h.version_max < HELLO_VERSION_MIN || h.version_min > HELLO_VERSION)
		return -EPROTONOSUPPORT;
	int err = decode_body(body, &h);
	if (err == 0)
		*ret = h;
	return err;
}

uint8_t hello_choose_version(const struct hello *h)
{
	return h->version_max < HELLO_VERSION ? h->version_max : HELLO_VERSION;
}

void hello_answer_encode(const struct hello_answer *a, struct buf *out)
{
	buf_u8(out, HELLO_MAGIC);
	buf_u8(out, a->version);
	buf_u8(out, (uint8_t)a->status);
	buf_u8(out, a->features);
	buf_append(out, a->nonce, sizeof(a->nonce));
	buf_bytes(out, SLICE(a->share, a->has_share ? sizeof(a->share) : 0));
}

int hello_answer_decode(struct slice message, struct hello_answer *ret)
{
	struct reader r = reader_init(message);
	struct hello_answer a = {0};

	if (reader_u8(&r) != HELLO_MAGIC)
		return -EBADMSG;
	a.version = reader_u8(&r);
	uint8_t status = reader_u8(&r);
	a.features = reader_u8(&r);
	reader_copy(&r, a.nonce, sizeof(a.nonce));
	struct slice body = reader_bytes(&r, HELLO_BYTES_MAX);
	if (r.bad || status >= HELLO_STATUS_COUNT)
		return -EBADMSG;
	a.status = (enum hello_status)status;
	a.has_share = body.len == sizeof(a.share);
	if (a.has_share)
		memcpy(a.share, body.data, sizeof(a.share));
	if (a.status != HELLO_VERSION_REFUSED &&
	    (a.version < HELLO_VERSION_MIN || a.version > HELLO_VERSION))
		return -EPROTONOSUPPORT;
	*ret = a;
	return 0;
}

struct id hello_hint(const uint8_t initiator_pk[KEYS_PK_BYTES],
		     const uint8_t responder_pk[KEYS_PK_BYTES], const struct id *database,
		     const uint8_t nonce[HELLO_NONCE_BYTES])
{
	const struct slice parts[] = {
		SLICE(initiator_pk, KEYS_PK_BYTES),
		SLICE(responder_pk, KEYS_PK_BYTES),
		SLICE(database->b, sizeof(database->b)),
		SLICE(nonce, HELLO_NONCE_BYTES),
	};

	return digest_id("blaze hint", parts, countof(parts));
}

struct id hello_recover_hint(const uint8_t account_pk[KEYS_PK_BYTES],
			     const uint8_t nonce[HELLO_NONCE_BYTES], const struct id *database)
{
	const struct slice parts[] = {
		SLICE(account_pk, KEYS_PK_BYTES),
		SLICE(nonce, HELLO_NONCE_BYTES),
		database ? SLICE(database->b, sizeof(database->b)) : SLICE("", 0),
	};

	return digest_id("blaze recover hint", parts, countof(parts) - !database);
}

static void without_tag(const struct hello *h, const struct id *database,
			uint8_t ret[HELLO_TAG_BYTES])
{
	const struct slice parts[] = {SLICE(database->b, sizeof(database->b)),
				      SLICE(h->nonce, HELLO_NONCE_BYTES)};
	struct id id = digest_id("blaze recover without", parts, countof(parts));

	memcpy(ret, id.b, HELLO_TAG_BYTES);
}

void hello_add_without(struct hello *h, const struct id *database)
{
	assert(h->without_count < HELLO_WITHOUT_MAX);
	without_tag(h, database, h->without[h->without_count++]);
}

bool hello_recovers(const struct hello *h, const uint8_t account_pk[KEYS_PK_BYTES],
		    const struct id *database)
{
	struct id any = hello_recover_hint(account_pk, h->nonce, NULL);
	struct id one = hello_recover_hint(account_pk, h->nonce, database);
	uint8_t tag[HELLO_TAG_BYTES];

	if (!id_eq(&any, &h->hint))
		return id_eq(&one, &h->hint);
	without_tag(h, database, tag);
	for (size_t i = 0; i < h->without_count; i++) {
		if (memcmp(tag, h->without[i], sizeof(tag)) == 0)
			return false;
	}
	return true;
}

void hello_recover_secret(const uint8_t account_pk[KEYS_PK_BYTES], uint8_t ret[32])
{
	const struct slice part = SLICE(account_pk, KEYS_PK_BYTES);

	digest(ret, "blaze recover psk", &part, 1);
}

void hello_invite_id(const uint8_t secret[32], uint8_t ret[HELLO_INVITE_BYTES])
{
	const struct slice part = SLICE(secret, 32);
	struct id id = digest_id("blaze invite", &part, 1);

	memcpy(ret, id.b, HELLO_INVITE_BYTES);
}
