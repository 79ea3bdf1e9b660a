/* The clear messages before a handshake. */
#include "net/hello.h"

#include <string.h>

void hello_encode(const struct hello *h, struct buf *out)
{
	buf_u8(out, HELLO_VERSION);
	buf_u8(out, (uint8_t)h->mode);
	buf_u8(out, h->features);
	if (h->mode == HELLO_SYNC) {
		buf_append(out, h->nonce, sizeof(h->nonce));
		id_write(out, &h->hint);
	} else {
		buf_append(out, h->invite, sizeof(h->invite));
	}
}

int hello_decode(struct slice message, struct hello *ret)
{
	struct reader r = reader_init(message);
	struct hello h = {0};

	uint8_t version = reader_u8(&r);
	if (!r.bad && version != HELLO_VERSION)
		return -EPROTONOSUPPORT;
	uint8_t mode = reader_u8(&r);
	h.features = reader_u8(&r);
	if (mode == HELLO_SYNC) {
		h.mode = HELLO_SYNC;
		reader_copy(&r, h.nonce, sizeof(h.nonce));
		h.hint = id_read(&r);
	} else if (mode == HELLO_PAIR) {
		h.mode = HELLO_PAIR;
		reader_copy(&r, h.invite, sizeof(h.invite));
	} else {
		return -EBADMSG;
	}
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = h;
	return 0;
}

void hello_answer_encode(const struct hello_answer *a, struct buf *out)
{
	buf_u8(out, HELLO_VERSION);
	buf_u8(out, (uint8_t)a->status);
	buf_u8(out, a->features);
	buf_append(out, a->nonce, sizeof(a->nonce));
}

int hello_answer_decode(struct slice message, struct hello_answer *ret)
{
	struct reader r = reader_init(message);
	struct hello_answer a = {0};

	uint8_t version = reader_u8(&r);
	if (!r.bad && version != HELLO_VERSION)
		return -EPROTONOSUPPORT;
	uint8_t status = reader_u8(&r);
	a.features = reader_u8(&r);
	reader_copy(&r, a.nonce, sizeof(a.nonce));
	if (reader_finish(&r) < 0 || status >= HELLO_STATUS_COUNT)
		return -EBADMSG;
	a.status = (enum hello_status)status;
	*ret = a;
	return 0;
}

struct id hello_hint(const uint8_t initiator_pk[KEYS_PK_BYTES],
		     const uint8_t responder_pk[KEYS_PK_BYTES],
		     const uint8_t nonce[HELLO_NONCE_BYTES])
{
	const struct slice parts[] = {
		SLICE(initiator_pk, KEYS_PK_BYTES),
		SLICE(responder_pk, KEYS_PK_BYTES),
		SLICE(nonce, HELLO_NONCE_BYTES),
	};

	return digest_id("blaze hint", parts, countof(parts));
}

void hello_invite_id(const uint8_t secret[32], uint8_t ret[HELLO_INVITE_BYTES])
{
	const struct slice part = SLICE(secret, 32);
	struct id id = digest_id("blaze invite", &part, 1);

	memcpy(ret, id.b, HELLO_INVITE_BYTES);
}
