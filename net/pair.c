/* The dialogue of pairing, both roles. */
#include "net/pair.h"

#include "core/petition.h"
#include "core/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum message_type {
	MESSAGE_PROOF = 1,
	MESSAGE_WELCOME = 2,
	MESSAGE_JOIN = 3,
	MESSAGE_DONE = 4,
};

/* What comes next, one step a message, in the order of the drawing in the header. */
enum step {
	STEP_JOINER_PROOF,
	STEP_INVITER_PROOF,
	STEP_WELCOME,
	STEP_JOIN,
	STEP_DONE,
	STEP_END,
};

static const struct {
	enum pair_role sender;
	enum message_type type;
} steps[] = {
	[STEP_JOINER_PROOF] = {PAIR_JOINER, MESSAGE_PROOF},
	[STEP_INVITER_PROOF] = {PAIR_INVITER, MESSAGE_PROOF},
	[STEP_WELCOME] = {PAIR_INVITER, MESSAGE_WELCOME},
	[STEP_JOIN] = {PAIR_JOINER, MESSAGE_JOIN},
	[STEP_DONE] = {PAIR_INVITER, MESSAGE_DONE},
};

struct pair {
	struct pair_options options;
	uint8_t device_id[DIGEST_BYTES];
	bool device_known;
	bool has_account; /* inviter: account_pk */
	uint8_t account_pk[KEYS_PK_BYTES];
	bool proven;
	bool approved;
	enum step step;
	struct device device;
	struct buf cert; /* the peer's */
	struct buf welcome;
	struct buf petition; /* recover */
};

struct pair *pair_create(const struct pair_options *options)
{
	struct pair *p = xcalloc(1, sizeof(*p));

	p->options = *options;
	assert(options->role == PAIR_JOINER || options->admit);
	p->device_known = options->role == PAIR_JOINER && options->device_id;
	if (p->device_known)
		memcpy(p->device_id, options->device_id, sizeof(p->device_id));
	p->has_account = options->account_pk != NULL;
	if (p->has_account)
		memcpy(p->account_pk, options->account_pk, sizeof(p->account_pk));
	p->options.device_id = NULL;
	p->options.account_pk = NULL;
	return p;
}

void pair_destroy(struct pair *p)
{
	if (!p)
		return;
	if (p->welcome.data)
		wipe(p->welcome.data, p->welcome.cap);
	buf_fini(&p->welcome);
	buf_fini(&p->petition);
	buf_fini(&p->cert);
	free(p);
}

/* What the given role signs. */
static void signed_text(const struct pair *p, enum pair_role role, struct buf *out)
{
	const char *context = role == PAIR_JOINER ? "blaze pair joiner" : "blaze pair inviter";

	buf_append(out, context, strlen(context));
	buf_append(out, p->options.hash, sizeof(p->options.hash));
}

static void write_proof(const struct pair *p, struct buf *out)
{
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(buf_fini) struct buf text = {0};
	uint8_t signature[KEYS_SIGNATURE_BYTES];

	keys_cert(p->options.keys, &cert);
	signed_text(p, p->options.role, &text);
	keys_sign(p->options.keys, buf_slice(&text), signature);
	buf_bytes(out, buf_slice(&cert));
	buf_append(out, signature, sizeof(signature));
	if (!p->options.account)
		return;
	account_sign(p->options.account, buf_slice(&text), signature);
	buf_append(out, signature, sizeof(signature));
}

static int read_proof(struct pair *p, struct reader *r)
{
	enum pair_role theirs = p->options.role == PAIR_JOINER ? PAIR_INVITER : PAIR_JOINER;
	AUTO(buf_fini) struct buf text = {0};
	uint8_t signature[KEYS_SIGNATURE_BYTES];

	struct slice cert = reader_bytes(r, DEVICE_CERT_BYTES_MAX);
	reader_copy(r, signature, sizeof(signature));
	struct slice account = reader_take(r, p->has_account ? KEYS_SIGNATURE_BYTES : 0);
	if (reader_finish(r) < 0)
		return -EBADMSG;
	int q = device_from_cert(cert, &p->device);
	if (q < 0)
		return q;
	signed_text(p, theirs, &text);
	if (!keys_verify(p->device.sign_pk, buf_slice(&text), signature) ||
	    !secret_eq(p->device.dh_pk, p->options.remote_pk, KEYS_PK_BYTES))
		return -EACCES;
	if (p->has_account && !keys_verify(p->account_pk, buf_slice(&text), account.data))
		return -EACCES;
	if (p->device_known && !secret_eq(p->device.id, p->device_id, DIGEST_BYTES))
		return -EACCES;
	buf_slice_append(&p->cert, cert);
	p->proven = true;
	return 0;
}

static int read_join(struct pair *p, struct reader *r)
{
	char endpoint[ENDPOINT_BYTES_MAX + 1] = "";
	struct slice told = reader_bytes(r, ENDPOINT_BYTES_MAX);

	buf_slice_append(&p->petition, reader_take(r, p->has_account ? KEYS_SIGNATURE_BYTES : 0));
	if (reader_finish(r) < 0 || (told.len > 0 && memchr(told.data, 0, told.len)))
		return -EBADMSG;
	memcpy(endpoint, told.data, told.len);
	return p->options.admit(p->options.ctx, &p->device, buf_slice(&p->cert), endpoint);
}

/* Joiner, recover: of the petition only what concerns this device is signed. */
static int read_petition(struct pair *p, struct slice petition, struct slice welcome)
{
	struct id db;
	int r = db_welcome_id(welcome, &db);

	if (r < 0)
		return r;
	return petition_sign_own(p->options.account, petition, &db, p->options.keys, &p->petition);
}

static int read_welcome(struct pair *p, struct reader *r)
{
	bool recovers = p->options.account != NULL;
	struct slice petition = recovers ? reader_bytes(r, PETITION_BYTES_MAX) : SLICE("", 0);

	buf_slice_append(&p->welcome, reader_take(r, reader_left(r)));
	if (r->bad)
		return -EBADMSG;
	return recovers ? read_petition(p, petition, buf_slice(&p->welcome)) : 0;
}

static void write_welcome(const struct pair *p, struct buf *out)
{
	if (p->has_account)
		buf_bytes(out, buf_slice(&p->petition));
	buf_slice_append(out, buf_slice(&p->welcome));
}

static void write_join(const struct pair *p, struct buf *out)
{
	struct slice signed_petition = buf_slice(&p->petition);

	buf_bytes(out, SLICE("", 0)); /* who joins has no database yet, so it does not listen */
	if (p->options.account)
		buf_append(out, signed_petition.data + signed_petition.len - KEYS_SIGNATURE_BYTES,
			   KEYS_SIGNATURE_BYTES);
}

static int read_message(struct pair *p, enum message_type type, struct reader *r)
{
	switch (type) {
	case MESSAGE_PROOF:
		return read_proof(p, r);
	case MESSAGE_WELCOME:
		return read_welcome(p, r);
	case MESSAGE_JOIN:
		return read_join(p, r);
	case MESSAGE_DONE:
		return reader_finish(r);
	}
	return -EBADMSG;
}

int pair_receive(struct pair *p, struct slice message)
{
	struct reader r = reader_init(message);
	uint8_t type = reader_u8(&r);

	if (r.bad)
		return -EBADMSG;
	if (p->step == STEP_END || steps[p->step].sender == p->options.role ||
	    steps[p->step].type != type)
		return -EPROTO;
	int q = read_message(p, steps[p->step].type, &r);
	if (q >= 0)
		p->step++;
	return q;
}

int pair_next(struct pair *p, struct buf *out)
{
	buf_clear(out);
	if (p->step == STEP_END || steps[p->step].sender != p->options.role || pair_is_asking(p))
		return 0;
	buf_u8(out, (uint8_t)steps[p->step].type);
	if (steps[p->step].type == MESSAGE_PROOF)
		write_proof(p, out);
	else if (steps[p->step].type == MESSAGE_WELCOME)
		write_welcome(p, out);
	else if (steps[p->step].type == MESSAGE_JOIN)
		write_join(p, out);
	p->step++;
	return 1;
}

bool pair_is_asking(const struct pair *p)
{
	return p->options.role == PAIR_INVITER && p->step == STEP_WELCOME && !p->approved;
}

void pair_approve(struct pair *p, struct slice welcome, struct slice petition)
{
	assert(pair_is_asking(p) && (petition.len > 0) == p->has_account);
	p->approved = true;
	buf_slice_append(&p->welcome, welcome);
	buf_slice_append(&p->petition, petition);
}

struct slice pair_petition(const struct pair *p)
{
	return buf_slice(&p->petition);
}

struct slice pair_cert(const struct pair *p)
{
	return buf_slice(&p->cert);
}

bool pair_is_proven(const struct pair *p)
{
	return p->proven;
}

bool pair_is_done(const struct pair *p)
{
	return p->step == STEP_END;
}

bool pair_welcome_is_sent(const struct pair *p)
{
	return p->options.role == PAIR_INVITER && p->step > STEP_WELCOME;
}

bool pair_is_welcome(const struct pair *p)
{
	return p->options.role == PAIR_JOINER && p->step == STEP_JOIN;
}

const struct device *pair_device(const struct pair *p)
{
	return &p->device;
}

void pair_take_welcome(struct pair *p, struct buf *ret)
{
	assert(p->options.role == PAIR_JOINER && p->step >= STEP_JOIN);
	*ret = p->welcome;
	p->welcome = (struct buf){0};
}

void pair_words(const uint8_t hash[NOISE_HASH_BYTES], char out[NET_WORDS_BYTES])
{
	const struct slice part = SLICE(hash, NOISE_HASH_BYTES);
	AUTO(buf_fini) struct buf words = {0};
	uint8_t d[DIGEST_BYTES];

	digest(d, "blaze pair words", &part, 1);
	words_encode(d, 4, " · ", &words);
	assert(words.len < NET_WORDS_BYTES);
	(void)snprintf(out, NET_WORDS_BYTES, "%s", buf_str(&words));
}
