/*
 * net/noise, net/channel, net/transport and net/pair, without a socket. Prints "ok NAME" for each test.
 *
 * The known answers are the vectors of cacophony (as stored in snow's tests/vectors/cacophony.txt) and
 * of RFC 5869, appendix A.
 */
#include "net/channel.h"
#include "net/pair.h"
#include "net/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition)                                                                       \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			(void)fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__,        \
				      #condition);                                             \
			abort();                                                               \
		}                                                                              \
	} while (0)

static char directory[] = "/tmp/test_noise.XXXXXX";

static void from_hex(const char *hex, struct buf *out)
{
	unsigned byte = 0;

	buf_clear(out);
	(void)buf_reserve(out, 1);
	for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
		buf_u8(out, (uint8_t)byte);
}

static bool is_hex(struct slice s, const char *hex)
{
	AUTO(buf_fini) struct buf b = {0};

	from_hex(hex, &b);
	return slice_eq(s, buf_slice(&b));
}

/* An identity with a given X25519 secret: written as a key file, because keys have no other way in. */
static struct keys *make_keys(const char *name, const char *dh_hex)
{
	AUTO(buf_fini) struct buf file = {0};
	AUTO(buf_fini) struct buf dh = {0};
	AUTO(free_ptr) char *path = xasprintf("%s/%s", directory, name);
	uint8_t sum[DIGEST_BYTES];
	struct keys *k = NULL;
	struct why why = {0};

	from_hex(dh_hex, &dh);
	CHECK(dh.len == 32);
	buf_append(&file, "blaze keys 1\n", 13);
	for (uint8_t i = 0; i < 32; i++)
		buf_u8(&file, (uint8_t)(i + name[0]));
	buf_slice_append(&file, buf_slice(&dh));
	buf_bytes(&file, SLICE_STR(name));
	struct slice body = buf_slice(&file);
	digest(sum, "blaze key file", &body, 1);
	buf_append(&file, sum, sizeof(sum));

	(void)unlink(path);
	FILE *f = fopen(path, "w");
	CHECK(f && chmod(path, 0600) == 0);
	CHECK(fwrite(file.data, 1, file.len, f) == file.len && fclose(f) == 0);
	int r = keys_load(path, &k, &why);
	if (r < 0)
		(void)fprintf(stderr, "%s\n", why.text);
	CHECK(r == 0);
	return k;
}

static struct keys *alice;
static struct keys *bob;
static struct keys *mallory;
static const uint8_t secret_a[32] = {1, 2, 3};
static const uint8_t secret_b[32] = {1, 2, 4};

/* ---- HKDF ----------------------------------------------------------------------------------- */

/* RFC 5869 A.3: no salt (32 zeros are the same), no info, which is what Noise uses. */
static void test_hkdf(void)
{
	AUTO(buf_fini) struct buf ikm = {0};
	uint8_t salt[32] = {0};
	uint8_t okm[2][32];

	from_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", &ikm);
	noise_hkdf(salt, buf_slice(&ikm), okm, 2);
	CHECK(is_hex(SLICE(okm, 42),
		     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
		     "9d201395faa4b61a96c8"));
}

/* ---- known answers -------------------------------------------------------------------------- */

#define ALICE_STATIC "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"
#define ALICE_EPHEMERAL "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"
#define BOB_STATIC "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"
#define BOB_EPHEMERAL "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"
#define VECTOR_PROLOGUE "4a6f686e2047616c74"
#define VECTOR_PSK "54686973206973206d7920417573747269616e20706572737065637469766521"
#define VECTOR_MESSAGES 6

static const char *const vector_payloads[VECTOR_MESSAGES] = {
	"4c756477696720766f6e204d69736573",	 "4d757272617920526f746862617264",
	"462e20412e20486179656b",		 "4361726c204d656e676572",
	"4a65616e2d426170746973746520536179",	 "457567656e2042f6686d20766f6e2042617765726b",
};

struct vector {
	enum noise_pattern pattern;
	enum noise_cipher cipher;
	const char *hash;
	const char *ciphertexts[VECTOR_MESSAGES];
};

static const struct vector vectors[] = {
	{NOISE_KK,
	 NOISE_AESGCM,
	 "b9c397b2d82fcd66abf66a9c760c1320cd7bd47d701c14b9ccd41436f47a172a",
	 {"ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
	  "8564738a841228e693caeec4c497a8bd562231c3e51a1f03c4fd45dfe3a67870",
	  "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
	  "b94504c4d83506f5dd2568b68490eba8ed6f9cf2cca194a273c56d7ae3c558",
	  "6a5c10a201d4e3a08f79f64949e55731f774913a4d949bda3fcebf",
	  "4e8a1bf06926fdd74e2f516e2b0c11cc1dc3387fadeb75389d4342",
	  "c1df7194ca8ea51d4dd99059bc9b90288112d47237d8481f1773fb26a31629a05c",
	  "3edba4feaf590ee88dd8f5fba51db4bee651cf41afd410fe476c524ac9b1db24252fc55ff8"}},
	{NOISE_KK,
	 NOISE_CHACHAPOLY,
	 "1f2be433153b6926a738175eaf8737e680999f8df06a729256a29a9c21be7476",
	 {"ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
	  "0177015efc1fe7a37c629af7120a96274e6ab7afcc9261901d0e09ae32a5bb96",
	  "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
	  "b274d3429adc47ca093ba63ef90f8da89fda108db471dccfa4894aa7b00003",
	  "966b05bc69ec01b8454d3160a214e6f24a3d884eb31ec2408af63f",
	  "0ad887fba4f611bbb4afe44ba3556b8164332ca7d5934634d63d80",
	  "012b28ae646ae7830e2c5472cb023eab071c1db3d8413ec69b513b83832f974c2d",
	  "bb3e6a48160d9c5971d37f975727294e0d868342db31832e54d07191ab0ca3c3703b5ed3d9"}},
	{NOISE_XXPSK3,
	 NOISE_AESGCM,
	 "8fd584888cb83f0ef12f8776516b4f5714421fd1f65ad46baeb0789a3beeffea",
	 {"ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
	  "ad6766e442bec99c94ff573cd5316da008cbcc1ebcf47fbe43991ed633bcbb75",
	  "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
	  "36a2439b0bafb5e97fee2c19b6f9f741125f810ad98e7e9659c48ca3e19652d3"
	  "16d1121073a281e0402b7bc1acb476caa1e7308faad7f75337b30f12435c98303cac63cac1d69a"
	  "c11f2e1971e138ac",
	  "2504a7905dbd6a56820581eb314085df196fda55aa5e77745d61c0b526355733d5ee67b9a4f345be"
	  "7dc7c6583d3807626eb0f42c69388955ff0c9f35b03951129db18848a76f6a4d270022",
	  "b20ca762013411bc55d65fc7137a2e719d432cd549cb037f5e9c84",
	  "6b10e774950e93bc7cc50f225a105e656eb418310c00c374a81c1452b48cb12000",
	  "6d617e8fd817a630755b8dffdee52ad3c39964bdca895a56847fd5f1edb49d14f555cc314b"}},
	{NOISE_XXPSK3,
	 NOISE_CHACHAPOLY,
	 "26222c182ee86fca16b557b4d1973374defd8d90d0bffa307c90b17fbd39dd30",
	 {"ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
	  "c9f5ff0e8079630cb7e270c20bbf480821b77a384a645c71a2fd9b3db1c16a5f",
	  "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
	  "b123def17f71e6ae8e57e0e1dec5949c5f7415c6f33517398747d821a06dc23a"
	  "d430aa1fd7381d46195c378a819fd574425462cbb2d4ca339e738a0b7001dc91423fbf55a99af0c6"
	  "f1df21012ceb2f",
	  "52187316111b118d4c060364f7b975dc0809b2590779aff2d63113c564f11744493384db7bf32d5a"
	  "e6686df6ab06d508d2e07caaf1d6afc010b978735fc78900e71ae1d314130d042e729a",
	  "eaedc672d4c21e0e2955758756fb98f194c4e90d5deb5b6cf30b27",
	  "522d543c5fe799d09a3d9da7ff54d0dc03c8af1dc7751d2ff708339d2290943e98",
	  "7d4e2c3873eef6a213b04e72f9df60a91666072d3544c5d96c34a09e2329b5030bee796741"}},
};

static struct noise *vector_side(const struct vector *v, bool initiator, struct slice prologue)
{
	AUTO(buf_fini) struct buf psk = {0};
	AUTO(buf_fini) struct buf e = {0};

	from_hex(VECTOR_PSK, &psk);
	from_hex(initiator ? ALICE_EPHEMERAL : BOB_EPHEMERAL, &e);
	const struct noise_options o = {
		.pattern = v->pattern,
		.cipher = v->cipher,
		.initiator = initiator,
		.prologue = prologue,
		.keys = initiator ? alice : bob,
		.remote_pk = keys_device(initiator ? bob : alice)->dh_pk,
		.psk = psk.data,
		.ephemeral = e.data,
	};
	return noise_create(&o);
}

static void check_vector(const struct vector *v)
{
	AUTO(buf_fini) struct buf prologue = {0};
	AUTO(buf_fini) struct buf payload = {0};
	AUTO(buf_fini) struct buf wire = {0};
	AUTO(buf_fini) struct buf got = {0};
	struct noise_key send[2], receive[2];
	uint8_t hash[2][32];
	size_t m = 0;

	from_hex(VECTOR_PROLOGUE, &prologue);
	struct noise *side[2] = {vector_side(v, true, buf_slice(&prologue)),
				 vector_side(v, false, buf_slice(&prologue))};
	for (; !noise_is_done(side[0]) || !noise_is_done(side[1]); m++) {
		from_hex(vector_payloads[m], &payload);
		buf_clear(&wire);
		buf_clear(&got);
		CHECK(noise_write(side[m % 2], buf_slice(&payload), &wire) == 0);
		CHECK(is_hex(buf_slice(&wire), v->ciphertexts[m]));
		CHECK(noise_read(side[1 - m % 2], buf_slice(&wire), &got) == 0);
		CHECK(slice_eq(buf_slice(&got), buf_slice(&payload)));
	}
	for (size_t i = 0; i < 2; i++) {
		noise_hash(side[i], hash[i]);
		noise_split(side[i], &send[i], &receive[i]);
		if(!is_hex(SLICE(hash[i], 32), v->hash)){printf("%zu pattern %d cipher %d ",i,v->pattern,v->cipher);for(int q=0;q<32;q++)printf("%02x",hash[i][q]);puts("");}
		noise_destroy(side[i]);
	}
	for (; m < VECTOR_MESSAGES; m++) {
		from_hex(vector_payloads[m], &payload);
		buf_clear(&wire);
		buf_clear(&got);
		CHECK(noise_key_seal(&send[m % 2], SLICE("", 0), buf_slice(&payload), &wire) == 0);
		CHECK(is_hex(buf_slice(&wire), v->ciphertexts[m]));
		CHECK(noise_key_open(&receive[1 - m % 2], SLICE("", 0), buf_slice(&wire), &got) == 0);
		CHECK(slice_eq(buf_slice(&got), buf_slice(&payload)));
	}
}

static void test_vectors(void)
{
	for (size_t i = 0; i < countof(vectors); i++) {
		if (vectors[i].cipher != NOISE_AESGCM || noise_has_aes())
			check_vector(&vectors[i]);
	}
}

/* ---- handshakes ----------------------------------------------------------------------------- */

/* What differs between an honest handshake and the one a test wants. */
struct twist {
	enum noise_pattern pattern;
	enum noise_cipher cipher;
	const char *responder_prologue;
	const uint8_t *responder_psk;
	const struct keys *responder;
	const struct keys *expected; /* by the initiator, in KK */
	size_t message;		     /* the one to damage: this many before it; SIZE_MAX = none */
	size_t byte;		     /* and where */
	bool cut;		     /* cut it there instead */
};

static struct twist honest(enum noise_pattern pattern, enum noise_cipher cipher)
{
	return (struct twist){
		.pattern = pattern,
		.cipher = cipher,
		.responder_prologue = "both hellos",
		.responder_psk = secret_a,
		.responder = bob,
		.expected = bob,
		.message = SIZE_MAX,
	};
}

static void twisted_sides(const struct twist *t, struct noise *side[2])
{
	struct noise_options o = {
		.pattern = t->pattern,
		.cipher = t->cipher,
		.initiator = true,
		.prologue = SLICE_STR("both hellos"),
		.keys = alice,
		.remote_pk = keys_device(t->expected)->dh_pk,
		.psk = secret_a,
	};

	side[0] = noise_create(&o);
	o.initiator = false;
	o.prologue = SLICE_STR(t->responder_prologue);
	o.keys = t->responder;
	o.remote_pk = keys_device(alice)->dh_pk;
	o.psk = t->responder_psk;
	side[1] = noise_create(&o);
}

/* Whether both sides finish with the same hash. *ret_len: of the message to damage. */
static bool handshake(const struct twist *t, size_t *ret_len)
{
	struct noise *side[2];
	bool ok = true;

	twisted_sides(t, side);
	for (size_t m = 0; ok && !(noise_is_done(side[0]) && noise_is_done(side[1])); m++) {
		AUTO(buf_fini) struct buf wire = {0};
		AUTO(buf_fini) struct buf payload = {0};

		ok = noise_write(side[m % 2], SLICE("", 0), &wire) == 0;
		CHECK(wire.len <= NOISE_MESSAGE_BYTES_MAX + 16);
		if (m == t->message && ret_len)
			*ret_len = wire.len;
		if (m == t->message && t->cut)
			buf_resize(&wire, t->byte);
		else if (m == t->message && t->byte < wire.len)
			wire.data[t->byte] ^= 1;
		ok = ok && noise_read(side[1 - m % 2], buf_slice(&wire), &payload) == 0;
	}
	if (ok) {
		uint8_t a[32], b[32];

		noise_hash(side[0], a);
		noise_hash(side[1], b);
		ok = memcmp(a, b, sizeof(a)) == 0;
	}
	noise_destroy(side[0]);
	noise_destroy(side[1]);
	return ok;
}

static void check_handshakes(enum noise_pattern pattern, enum noise_cipher cipher)
{
	struct twist t = honest(pattern, cipher);
	CHECK(handshake(&t, NULL));

	t.responder_prologue = "other hellos";
	CHECK(!handshake(&t, NULL));

	t = honest(pattern, cipher);
	t.responder_psk = secret_b;
	CHECK(handshake(&t, NULL) == (pattern == NOISE_KK));

	t = honest(pattern, cipher);
	t.responder = mallory;
	CHECK(handshake(&t, NULL) == (pattern == NOISE_XXPSK3));

	t = honest(pattern, cipher);
	t.responder = alice; /* our own messages come back */
	t.expected = alice;
	CHECK(!handshake(&t, NULL));

	size_t messages = pattern == NOISE_KK ? 2 : 3;
	for (size_t m = 0; m < messages; m++) {
		size_t len = 0;

		t = honest(pattern, cipher);
		t.message = m;
		t.byte = SIZE_MAX;
		CHECK(handshake(&t, &len) && len > 0);
		for (t.byte = 0; t.byte < len; t.byte++) {
			t.cut = false;
			/* X25519 ignores the highest bit of a key, but not the lowest, changed here. */
			CHECK(!handshake(&t, NULL));
			t.cut = true;
			CHECK(!handshake(&t, NULL));
		}
	}
}

static void test_handshakes(void)
{
	for (int cipher = NOISE_CHACHAPOLY; cipher <= NOISE_AESGCM; cipher++) {
		if (cipher == NOISE_AESGCM && !noise_has_aes())
			continue;
		check_handshakes(NOISE_XXPSK3, (enum noise_cipher)cipher);
		check_handshakes(NOISE_KK, (enum noise_cipher)cipher);
	}
}

/* The responder answers with the initiator's own ephemeral key. */
static void test_reflected_ephemeral(void)
{
	struct twist t = honest(NOISE_XXPSK3, NOISE_CHACHAPOLY);
	AUTO(buf_fini) struct buf wire = {0};
	AUTO(buf_fini) struct buf payload = {0};
	struct noise *side[2];

	twisted_sides(&t, side);
	CHECK(noise_write(side[0], SLICE("", 0), &wire) == 0);
	buf_resize(&wire, 112); /* as long as the real second message */
	CHECK(noise_read(side[0], buf_slice(&wire), &payload) == -EBADMSG);
	CHECK(noise_read(side[0], buf_slice(&wire), &payload) == -EBADMSG);
	CHECK(noise_write(side[0], SLICE("", 0), &wire) == -EBADMSG); /* dead for good */
	noise_destroy(side[0]);
	noise_destroy(side[1]);
}

/* Points of low order make every shared secret zero: refused, wherever they come. */
static void test_low_order(void)
{
	static const uint8_t points[][32] = {{0}, {1}};

	for (size_t i = 0; i < countof(points); i++) {
		struct twist t = honest(NOISE_KK, NOISE_CHACHAPOLY);
		AUTO(buf_fini) struct buf wire = {0};
		AUTO(buf_fini) struct buf payload = {0};
		struct noise *side[2];

		twisted_sides(&t, side);
		buf_append(&wire, points[i], 32);
		buf_resize(&wire, 48);
		CHECK(noise_read(side[1], buf_slice(&wire), &payload) == -EBADMSG);
		noise_destroy(side[0]);
		noise_destroy(side[1]);

		const struct noise_options o = {
			.pattern = NOISE_KK,
			.initiator = true,
			.prologue = SLICE("", 0),
			.keys = alice,
			.remote_pk = points[i],
		};
		struct noise *n = noise_create(&o);
		CHECK(noise_write(n, SLICE("", 0), &wire) == -EBADMSG);
		noise_destroy(n);
	}
}

/* The counter never comes round. */
static void test_counter_end(void)
{
	struct noise_key k = {.n = UINT64_MAX - 1};
	AUTO(buf_fini) struct buf out = {0};

	CHECK(noise_key_seal(&k, SLICE("", 0), SLICE("x", 1), &out) == 0);
	CHECK(noise_key_seal(&k, SLICE("", 0), SLICE("x", 1), &out) == -EPROTO);
	CHECK(noise_key_open(&k, SLICE("", 0), buf_slice(&out), &out) == -EPROTO);
}

/* ---- channels ------------------------------------------------------------------------------- */

static const struct channel_limits usual_limits = {1u << 16, 1u << 30, 1u << 20};

static void make_channels(const struct channel_limits *limits, struct channel *c[2])
{
	const enum noise_cipher cipher = noise_has_aes() ? NOISE_AESGCM : NOISE_CHACHAPOLY;
	struct noise_key to = {.cipher = cipher, .k = {1}};
	struct noise_key to_copy = to;
	struct noise_key from = {.cipher = NOISE_CHACHAPOLY, .k = {2}};
	struct noise_key from_copy = from;

	c[0] = channel_create(&to, &from, limits);
	c[1] = channel_create(&from_copy, &to_copy, limits);
	CHECK(to.k[0] == 0 && from.k[0] == 0); /* taken and wiped */
}

static void destroy_channels(struct channel *c[2])
{
	channel_destroy(c[0]);
	channel_destroy(c[1]);
}

/* What arrived: the lengths, and a running sum of the bytes. */
struct inbox {
	size_t count;
	size_t bytes;
	uint64_t sum;
};

static uint64_t sum_of(struct slice s, uint64_t sum)
{
	for (size_t i = 0; i < s.len; i++)
		sum = sum * 31 + s.data[i];
	return sum;
}

static int collect(void *ctx, struct slice message)
{
	struct inbox *in = ctx;

	in->count++;
	in->bytes += message.len;
	in->sum = sum_of(message, in->sum);
	return 0;
}

static uint64_t send_message(struct channel *c, size_t len, uint8_t seed, uint64_t sum)
{
	struct buf b = {0};

	for (size_t i = 0; i < len; i++)
		buf_u8(&b, (uint8_t)(seed + i * 7));
	sum = sum_of(buf_slice(&b), sum);
	channel_send(c, &b);
	CHECK(b.len == 0 && !b.data);
	return sum;
}

/* Moves everything; the largest record must be within the limit. Returns the bytes on the wire. */
static size_t pump(struct channel *from, struct channel *to, struct inbox *in)
{
	size_t wire_bytes = 0;

	for (;;) {
		AUTO(buf_fini) struct buf wire = {0};
		int r = channel_next(from, &wire);

		CHECK(r >= 0);
		if (r == 0)
			return wire_bytes;
		CHECK(wire.len <= CHANNEL_RECORD_BYTES_MAX);
		CHECK((wire.len - NOISE_TAG_BYTES) % CHANNEL_PADDING_BYTES == 0);
		CHECK(channel_receive(to, buf_slice(&wire), collect, in) == 0);
		wire_bytes += wire.len;
	}
}

static void test_messages_of_all_sizes(void)
{
	static const size_t sizes[] = {1,     2,     61,    62,	   63,	  64,	 124,	  125,
				       126,   127,   128,   129,   1000,  8189,	 8190,	  8191,
				       32764, 32765, 32766, 32767, 32768, 32769, 65530,	  65536,
				       99999, 500000};
	struct channel *c[2];
	struct inbox in = {0};
	uint64_t sum = 0;

	make_channels(&usual_limits, c);
	for (size_t i = 0; i < countof(sizes); i++) { /* each alone */
		sum = send_message(c[0], sizes[i], (uint8_t)i, sum);
		size_t wire = pump(c[0], c[1], &in);
		size_t records = sizes[i] / CHANNEL_PLAIN_BYTES_MAX + 1;
		CHECK(wire < sizes[i] + (records + 1) * 19 + CHANNEL_PADDING_BYTES);
	}
	for (size_t i = 0; i < countof(sizes); i++) /* and all at once */
		sum = send_message(c[0], sizes[i], (uint8_t)i, sum);
	CHECK(channel_pending_bytes(c[0]) > 0);
	(void)pump(c[0], c[1], &in);
	CHECK(channel_pending_bytes(c[0]) == 0);
	CHECK(in.count == 2 * countof(sizes) && in.sum == sum);
	destroy_channels(c);
}

static void test_small_messages_share_a_record(void)
{
	struct channel *c[2];
	struct inbox in = {0};
	uint64_t sum = 0;

	make_channels(&usual_limits, c);
	sum = send_message(c[0], 200, 1, sum);
	CHECK(pump(c[0], c[1], &in) == 256 + 16);
	for (uint8_t i = 0; i < 100; i++)
		sum = send_message(c[0], 200, i, sum);
	CHECK(pump(c[0], c[1], &in) < 100 * 203 + 16 + 128);
	CHECK(in.count == 101 && in.sum == sum);
	destroy_channels(c);
}

/* Sends three records, damages the delivery as `how` says, and gives what the receiver said last. */
enum damage {
	DAMAGE_BIT,
	DAMAGE_CUT,
	DAMAGE_LONGER,
	DAMAGE_REPEAT,
	DAMAGE_SWAP,
	DAMAGE_SKIP,
	DAMAGE_OTHER_WAY,
};

static int deliver_damaged(enum damage how, size_t at)
{
	struct channel *c[2];
	struct inbox in = {0};
	struct buf wire[3] = {{0}, {0}, {0}};
	int r = 0;

	make_channels(&usual_limits, c);
	for (size_t i = 0; i < 3; i++) {
		(void)send_message(c[0], 100, (uint8_t)i, 0);
		CHECK(channel_next(c[0], &wire[i]) == 1);
	}
	if (how == DAMAGE_BIT)
		wire[0].data[at] ^= 0x80;
	else if (how == DAMAGE_CUT)
		buf_resize(&wire[0], at);
	else if (how == DAMAGE_LONGER)
		buf_u8(&wire[0], 0);
	bool reversed = how == DAMAGE_SWAP || how == DAMAGE_SKIP;
	struct channel *to = c[how == DAMAGE_OTHER_WAY ? 0 : 1];
	r = channel_receive(to, buf_slice(&wire[reversed ? 1 : 0]), collect, &in);
	if (how == DAMAGE_REPEAT) {
		CHECK(r == 0);
		r = channel_receive(to, buf_slice(&wire[0]), collect, &in);
	}
	for (size_t i = 0; i < 3; i++)
		buf_fini(&wire[i]);
	destroy_channels(c);
	return r;
}

static void test_damaged_records(void)
{
	for (size_t at = 0; at < 128 + 16; at++) {
		CHECK(deliver_damaged(DAMAGE_BIT, at) == -EBADMSG);
		CHECK(deliver_damaged(DAMAGE_CUT, at) == -EBADMSG);
	}
	CHECK(deliver_damaged(DAMAGE_LONGER, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_REPEAT, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_SWAP, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_SKIP, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_OTHER_WAY, 0) == -EBADMSG);
}

static void test_rekey(void)
{
	static const struct channel_limits limits[] = {
		{1, 1u << 30, 1u << 20}, /* after every record */
		{3, 1u << 30, 1u << 20},
		{1u << 16, 256, 1u << 20}, /* by bytes */
		{1u << 16, 1, 1u << 20},
	};

	for (size_t i = 0; i < countof(limits); i++) {
		struct channel *c[2];
		struct inbox there = {0};
		struct inbox back = {0};
		uint64_t sum = 0;

		make_channels(&limits[i], c);
		for (uint8_t k = 0; k < 50; k++) {
			sum = send_message(c[0], 40u + k * 11u, k, sum);
			(void)pump(c[0], c[1], &there);
			(void)send_message(c[1], 5, k, 0);
			(void)pump(c[1], c[0], &back);
		}
		CHECK(there.sum == sum && there.count == 50 && back.count == 50);
		destroy_channels(c);
	}
}

/* Two sides that would rekey at different records cannot understand each other for long. */
static void test_rekey_mismatch(void)
{
	struct channel *a[2];
	struct channel *b[2];
	const struct channel_limits early = {3, 1u << 30, 1u << 20};
	const struct channel_limits late = {4, 1u << 30, 1u << 20};
	struct inbox in = {0};

	make_channels(&early, a);
	make_channels(&late, b);
	for (size_t i = 0; i < 4; i++) {
		AUTO(buf_fini) struct buf wire = {0};

		(void)send_message(a[0], 10, 0, 0);
		CHECK(channel_next(a[0], &wire) == 1);
		CHECK(channel_receive(b[1], buf_slice(&wire), collect, &in) == (i < 3 ? 0 : -EBADMSG));
	}
	destroy_channels(a);
	destroy_channels(b);
}

static void test_message_limit(void)
{
	const struct channel_limits big = {1u << 16, 1u << 30, 200000};
	const struct channel_limits small = {1u << 16, 1u << 30, 100000};

	for (size_t len = 99999; len <= 100001; len++) {
		struct channel *a[2];
		struct channel *b[2];
		struct inbox in = {0};
		int r = 0;

		make_channels(&big, a);
		make_channels(&small, b);
		(void)send_message(a[0], len, 0, 0);
		for (;;) {
			AUTO(buf_fini) struct buf wire = {0};

			if (channel_next(a[0], &wire) == 0 || r < 0)
				break;
			r = channel_receive(b[1], buf_slice(&wire), collect, &in);
		}
		CHECK(r == (len > 100000 ? -EMSGSIZE : 0));
		CHECK(in.count == (len > 100000 ? 0 : 1));
		destroy_channels(a);
		destroy_channels(b);
	}
}

static void test_bye(void)
{
	struct channel *c[2];
	struct inbox in = {0};
	AUTO(buf_fini) struct buf wire = {0};

	make_channels(&usual_limits, c);
	(void)send_message(c[0], 100000, 0, 0);
	CHECK(channel_next(c[0], &wire) == 1); /* in the middle of a message */
	CHECK(channel_receive(c[1], buf_slice(&wire), collect, &in) == 0);
	CHECK(channel_bye_received(c[1]) == -1);
	channel_bye(c[0], CHANNEL_BYE_DUPLICATE);
	(void)send_message(c[0], 10, 0, 0); /* dropped */
	(void)pump(c[0], c[1], &in);
	CHECK(channel_bye_is_sent(c[0]));
	CHECK(channel_bye_received(c[1]) == CHANNEL_BYE_DUPLICATE);
	CHECK(in.count == 0);
	CHECK(channel_receive(c[1], buf_slice(&wire), collect, &in) == -EPROTO);
	destroy_channels(c);
}

/* Authentic records with nonsense inside. */
static int open_plain(const char *hex, size_t pad_to, uint8_t pad_with)
{
	struct noise_key seal = {.cipher = NOISE_CHACHAPOLY, .k = {9}};
	struct noise_key open = seal;
	struct noise_key unused = seal;
	struct inbox in = {0};
	AUTO(buf_fini) struct buf plain = {0};
	AUTO(buf_fini) struct buf wire = {0};

	from_hex(hex, &plain);
	while (plain.len < pad_to)
		buf_u8(&plain, pad_with);
	CHECK(noise_key_seal(&seal, SLICE("", 0), buf_slice(&plain), &wire) == 0);
	struct channel *c = channel_create(&unused, &open, NULL);
	int r = channel_receive(c, buf_slice(&wire), collect, &in);
	channel_destroy(c);
	return r;
}

static void test_malformed_plaintext(void)
{
	CHECK(open_plain("0641", 128, 0) == 0);		    /* one message "A" */
	CHECK(open_plain("", 128, 0) == 0);		    /* padding only */
	CHECK(open_plain("", 0, 0) == -EBADMSG);	    /* nothing */
	CHECK(open_plain("0641", 127, 0) == -EBADMSG);	    /* not padded */
	CHECK(open_plain("064100", 128, 1) == -EBADMSG);    /* padding that is not zeros */
	CHECK(open_plain("01", 128, 0) == -EBADMSG);	    /* an empty part */
	CHECK(open_plain("02", 128, 0) == -EBADMSG);	    /* an empty message */
	CHECK(open_plain("0441", 128, 0) == -EBADMSG);	    /* padding with a length */
	CHECK(open_plain("fe07", 128, 0) == -EBADMSG);	    /* longer than the record */
	CHECK(open_plain("fe8080808001", 128, 0) == -EBADMSG);
	CHECK(open_plain("ffffffffffffffffffff", 128, 255) == -EBADMSG);
	CHECK(open_plain("0700", 128, 0) == 0);		    /* BYE */
	CHECK(open_plain("07ff", 128, 0) == -EBADMSG);	    /* for an unknown reason */
	CHECK(open_plain("0b0000", 128, 0) == -EBADMSG);    /* with two */
	CHECK(open_plain("07000641", 128, 0) == -EBADMSG);  /* and a message after it */
}

/* ---- transports and pairing ----------------------------------------------------------------- */

struct end {
	struct transport *t;
	enum hello_status answer;
	const uint8_t *secret;
	bool up;
	struct inbox in;
	struct pair *pair;
	const struct keys *keys;
	int admitted;
};

static enum hello_status end_lookup(void *ctx, const struct hello *h, uint8_t ret_secret[32])
{
	struct end *e = ctx;

	(void)h;
	memcpy(ret_secret, e->secret, 32);
	return e->answer;
}

static void end_up(void *ctx)
{
	struct end *e = ctx;

	e->up = true;
}

static int end_message(void *ctx, struct slice message)
{
	struct end *e = ctx;

	return e->pair ? pair_receive(e->pair, message) : collect(&e->in, message);
}

static struct transport *open_end(struct end *e, bool initiator, enum hello_mode mode)
{
	const struct transport_options o = {
		.keys = e->keys,
		.handler = {.lookup = end_lookup, .up = end_up, .message = end_message, .ctx = e},
		.initiator = initiator,
		.mode = mode,
		.secret = e->secret,
	};

	return transport_create(&o);
}

/* One wire message from a to b. 0 = there was none; < 0 what b said. */
static int carry(struct end *a, struct end *b)
{
	AUTO(buf_fini) struct buf wire = {0};

	if (transport_next(a->t, &wire) != 1)
		return 0;
	int r = transport_receive(b->t, buf_slice(&wire));
	return r < 0 ? r : 1;
}

static int carry_all(struct end *a, struct end *b)
{
	for (;;) {
		int there = carry(a, b);
		int back = there < 0 ? 0 : carry(b, a);

		if (there < 0 || back < 0)
			return there < 0 ? there : back;
		if (there == 0 && back == 0)
			return 0;
	}
}

static void test_transport_sync(void)
{
	struct end a = {.keys = alice, .secret = keys_device(bob)->dh_pk};
	struct end b = {.keys = bob, .secret = keys_device(alice)->dh_pk};
	struct buf message = {0};

	a.t = open_end(&a, true, HELLO_SYNC);
	b.t = open_end(&b, false, HELLO_SYNC);
	CHECK(carry_all(&a, &b) == 0 && a.up && b.up);
	buf_append(&message, "hello", 5);
	transport_send(a.t, &message);
	CHECK(carry_all(&a, &b) == 0 && b.in.count == 1 && b.in.bytes == 5);
	transport_bye(b.t, CHANNEL_BYE_SHUTDOWN);
	CHECK(carry_all(&a, &b) == -ECANCELED);
	CHECK(transport_bye_received(a.t) == CHANNEL_BYE_SHUTDOWN);
	transport_destroy(a.t);
	transport_destroy(b.t);
}

static void test_transport_refusals(void)
{
	for (int status = HELLO_UNKNOWN; status < HELLO_STATUS_COUNT; status++) {
		struct end a = {.keys = alice, .secret = secret_a};
		struct end b = {.keys = bob, .secret = secret_a};

		b.answer = (enum hello_status)status;
		a.t = open_end(&a, true, HELLO_PAIR);
		b.t = open_end(&b, false, HELLO_PAIR);
		CHECK(carry_all(&a, &b) == -ECANCELED);
		CHECK(transport_status(a.t) == b.answer && !a.up && !b.up);
		CHECK(transport_next(b.t, &(struct buf){0}) < 0); /* it closes */
		transport_destroy(a.t);
		transport_destroy(b.t);
	}
}

static void test_transport_wrong_secret(void)
{
	struct end a = {.keys = alice, .secret = secret_b};
	struct end b = {.keys = bob, .secret = secret_a};

	a.t = open_end(&a, true, HELLO_PAIR);
	b.t = open_end(&b, false, HELLO_PAIR);
	CHECK(carry_all(&a, &b) == -EBADMSG);
	CHECK(transport_secret_was_wrong(b.t) && !b.up);
	transport_destroy(a.t);
	transport_destroy(b.t);
}

/* Every byte of every wire message before the records, changed: never up on both sides. */
static void test_transport_tampering(void)
{
	for (size_t n = 0; n < 4; n++) {
		size_t len = 1;

		for (size_t at = 0; at < len; at++) {
			struct end e[2] = {{.keys = alice, .secret = keys_device(bob)->dh_pk},
					   {.keys = bob, .secret = keys_device(alice)->dh_pk}};
			int r = 0;

			e[0].t = open_end(&e[0], true, HELLO_SYNC);
			e[1].t = open_end(&e[1], false, HELLO_SYNC);
			for (size_t m = 0; m < 4 && r >= 0; m++) {
				AUTO(buf_fini) struct buf wire = {0};

				CHECK(transport_next(e[m % 2].t, &wire) == 1);
				if (m == n) {
					len = wire.len;
					wire.data[at] ^= 1;
				}
				r = transport_receive(e[1 - m % 2].t, buf_slice(&wire));
			}
			CHECK(r < 0 || !e[0].up || !e[1].up);
			transport_destroy(e[0].t);
			transport_destroy(e[1].t);
		}
	}
}

static int end_admit(void *ctx, const struct device *d, struct slice cert, const char *endpoint)
{
	struct end *e = ctx;
	struct device again;

	CHECK(device_from_cert(cert, &again) == 0 && again.actor == d->actor);
	CHECK(d->actor == keys_device(alice)->actor && endpoint[0] == 0);
	e->admitted++;
	return 0;
}

static void start_pair(struct end *e, enum pair_role role, const uint8_t *device_id)
{
	struct pair_options o = {
		.role = role,
		.keys = e->keys,
		.device_id = device_id,
		.welcome = SLICE_STR("the keys of the house"),
		.admit = end_admit,
		.ctx = e,
	};

	transport_hash(e->t, o.hash);
	transport_remote_pk(e->t, o.remote_pk);
	e->pair = pair_create(&o);
}

/* Speaks until nobody has anything to say. < 0: what the last pair_receive() said. */
static int talk(struct end *a, struct end *b)
{
	for (;;) {
		struct end *const from[2] = {a, b};
		bool said = false;

		for (size_t i = 0; i < 2; i++) {
			AUTO(buf_fini) struct buf message = {0};

			if (pair_next(from[i]->pair, &message) != 1)
				continue;
			said = true;
			int r = pair_receive(from[1 - i]->pair, buf_slice(&message));
			if (r < 0)
				return r;
		}
		if (!said)
			return 0;
	}
}

/* The keys with which b speaks as inviter, and the device id the link has told a. */
static int pair_up(const struct keys *inviter, const uint8_t *device_id, struct end *a, struct end *b)
{
	*a = (struct end){.keys = alice, .secret = secret_a};
	*b = (struct end){.keys = bob, .secret = secret_a};
	a->t = open_end(a, true, HELLO_PAIR);
	b->t = open_end(b, false, HELLO_PAIR);
	CHECK(carry_all(a, b) == 0 && a->up && b->up);
	b->keys = inviter;
	start_pair(a, PAIR_JOINER, device_id);
	start_pair(b, PAIR_INVITER, NULL);
	return talk(a, b);
}

static void end_pair(struct end *a, struct end *b)
{
	pair_destroy(a->pair);
	pair_destroy(b->pair);
	transport_destroy(a->t);
	transport_destroy(b->t);
}

static void test_pair(void)
{
	AUTO(buf_fini) struct buf welcome = {0};
	struct end a, b;
	uint8_t hash[2][32];
	char code[2][PAIR_CODE_BYTES];

	CHECK(pair_up(bob, keys_device(bob)->id, &a, &b) == 0);
	CHECK(pair_is_done(a.pair) && pair_is_done(b.pair) && b.admitted == 1);
	CHECK(pair_device(a.pair)->actor == keys_device(bob)->actor);
	pair_take_welcome(a.pair, &welcome);
	CHECK(slice_eq(buf_slice(&welcome), SLICE_STR("the keys of the house")));
	transport_hash(a.t, hash[0]);
	transport_hash(b.t, hash[1]);
	pair_code(hash[0], code[0]);
	pair_code(hash[1], code[1]);
	CHECK(strlen(code[0]) == 9 && strcmp(code[0], code[1]) == 0);
	end_pair(&a, &b);
}

static void test_pair_with_another(void)
{
	struct end a, b;

	/* Another device than the link names. */
	CHECK(pair_up(bob, keys_device(mallory)->id, &a, &b) == -EACCES);
	CHECK(b.admitted == 0);
	end_pair(&a, &b);
	/* A certificate that is not the handshake's static key. */
	CHECK(pair_up(mallory, keys_device(mallory)->id, &a, &b) == -EACCES);
	CHECK(b.admitted == 0);
	end_pair(&a, &b);
}

static void test_pair_out_of_turn(void)
{
	for (uint8_t type = 0; type < 6; type++) {
		struct end a, b;
		uint8_t message[2] = {type, 0};

		CHECK(pair_up(bob, keys_device(bob)->id, &a, &b) == 0);
		CHECK(pair_receive(a.pair, SLICE(message, 2)) == -EPROTO);
		CHECK(pair_receive(b.pair, SLICE(message, 2)) == -EPROTO);
		pair_destroy(b.pair);
		start_pair(&b, PAIR_INVITER, NULL);
		CHECK(pair_receive(b.pair, SLICE(message, 2)) == (type == 1 ? -EBADMSG : -EPROTO));
		CHECK(pair_receive(b.pair, SLICE("", 0)) == -EBADMSG);
		end_pair(&a, &b);
	}
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"hkdf_rfc5869", test_hkdf},
		{"noise_vectors", test_vectors},
		{"handshakes", test_handshakes},
		{"reflected_ephemeral", test_reflected_ephemeral},
		{"low_order_points", test_low_order},
		{"counter_end", test_counter_end},
		{"messages_of_all_sizes", test_messages_of_all_sizes},
		{"small_messages_share_a_record", test_small_messages_share_a_record},
		{"damaged_records", test_damaged_records},
		{"rekey", test_rekey},
		{"rekey_mismatch", test_rekey_mismatch},
		{"message_limit", test_message_limit},
		{"bye", test_bye},
		{"malformed_plaintext", test_malformed_plaintext},
		{"transport_sync", test_transport_sync},
		{"transport_refusals", test_transport_refusals},
		{"transport_wrong_secret", test_transport_wrong_secret},
		{"transport_tampering", test_transport_tampering},
		{"pair", test_pair},
		{"pair_with_another", test_pair_with_another},
		{"pair_out_of_turn", test_pair_out_of_turn},
	};

	digest_init();
	CHECK(mkdtemp(directory));
	alice = make_keys("alice", ALICE_STATIC);
	bob = make_keys("bob", BOB_STATIC);
	mallory = make_keys("mallory", ALICE_EPHEMERAL);
	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
	}
	keys_destroy(alice);
	keys_destroy(bob);
	keys_destroy(mallory);
	static const char *const names[] = {"alice", "bob", "mallory"};
	for (size_t i = 0; i < countof(names); i++) {
		AUTO(free_ptr) char *path = xasprintf("%s/%s", directory, names[i]);
		(void)unlink(path);
	}
	return rmdir(directory) == 0 ? 0 : 1;
}
