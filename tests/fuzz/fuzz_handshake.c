/*
 * A transport that is fed anything, in either role. First byte: bit 0 = we are the initiator, bit 1
 * = pairing (bit 3 = by code), bit 2 = the other side answers honestly, and the input only damages what it
 * says. Then pieces, each a byte of length and its bytes: a wire message, or what is XORed into one.
 */
#include "net/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
	struct transport *t;
	const uint8_t *secret;
	bool up;
};

static struct keys *keys[2];
static const uint8_t link_secret[32] = {7};

static void make_keys(void)
{
	char path[] = "/tmp/fuzz_handshake.XXXXXX";
	struct why why = {0};

	if (!mkdtemp(path))
		abort();
	for (size_t i = 0; i < 2; i++) {
		AUTO(free_ptr) char *file = xasprintf("%s/%zu", path, i);

		if (keys_create(file, i ? "bob" : "alice", &keys[i], &why) < 0)
			abort();
		(void)unlink(file);
	}
	(void)rmdir(path);
}

static enum hello_status lookup(void *ctx, const struct hello *h, uint8_t ret_secret[32])
{
	const struct end *e = ctx;

	if (h->mode < HELLO_SYNC || (h->mode > HELLO_CODE && h->mode != HELLO_RECOVER))
		abort();
	memcpy(ret_secret, e->secret, 32);
	return HELLO_OK;
}

static void up(void *ctx)
{
	struct end *e = ctx;

	e->up = true;
}

static int message(void *ctx, struct slice m)
{
	(void)ctx;
	return m.len > 0 ? 0 : -EBADMSG;
}

static struct transport *create(struct end *e, size_t own, bool initiator, enum hello_mode mode)
{
	e->secret = mode != HELLO_SYNC ? link_secret : keys_device(keys[1 - own])->dh_pk;
	const struct transport_options o = {
		.keys = keys[own],
		.handler = {.lookup = lookup, .up = up, .message = message, .ctx = e},
		.initiator = initiator,
		.mode = mode,
		.secret = e->secret,
		.nameplate = 7,
	};

	return transport_create(&o);
}

/* Carries what `from` says, damaged by the next piece. Whether there was something. */
static bool carry(struct end *from, struct end *to, struct reader *r, bool *damaged)
{
	AUTO(buf_fini) struct buf wire = {0};

	if (transport_next(from->t, &wire) != 1)
		return false;
	struct slice piece = reader_take(r, reader_u8(r));
	for (size_t i = 0; i < piece.len && i < wire.len; i++) {
		*damaged = *damaged || piece.data[i] != 0;
		wire.data[i] ^= piece.data[i];
	}
	return transport_receive(to->t, buf_slice(&wire)) >= 0;
}

static void play_damaged(struct end *a, struct end *b, struct reader *r)
{
	bool damaged = false;
	bool turn = true;
	struct end *const ends[2] = {a, b};

	for (size_t i = 0; i < 8 && turn; i++)
		turn = carry(ends[i % 2], ends[1 - i % 2], r, &damaged);
	if (damaged == (a->up && b->up))
		abort(); /* up in spite of damage, or not up without any */
}

static void play_alone(struct end *a, struct reader *r)
{
	while (reader_left(r) > 0) {
		AUTO(buf_fini) struct buf out = {0};
		struct slice piece = reader_take(r, reader_u8(r));

		if (transport_receive(a->t, piece) < 0 || transport_next(a->t, &out) < 0)
			break;
	}
	if (a->up)
		abort(); /* nobody knows the keys by chance */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(SLICE(data, size));
	uint8_t flags = reader_u8(&r);
	struct end a = {0};
	struct end b = {0};

	digest_init();
	if (!keys[0])
		make_keys();
	enum hello_mode mode = flags & 2 ? flags & 8 ? HELLO_CODE : HELLO_LINK : HELLO_SYNC;
	a.t = create(&a, 0, (flags & 5) != 0, mode);
	if (flags & 4) {
		b.t = create(&b, 1, false, mode);
		play_damaged(&a, &b, &r);
	} else {
		play_alone(&a, &r);
	}
	transport_destroy(a.t);
	transport_destroy(b.t);
	return 0;
}
