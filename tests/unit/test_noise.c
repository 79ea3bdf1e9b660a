/*
 * net/noise. Prints "ok NAME" for each test.
 *
 * The known answers are the vectors of cacophony, as in snow's tests/vectors/cacophony.txt since
 * its commit aabed315 (before that, their handshake hashes were wrong), those of Debian's
 * golang-github-flynn-noise-dev where it is installed, and of RFC 5869, appendix A.
 */
#include "net/noise.h"
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/*
 * An identity with a given X25519 secret: written as a key file, because keys have no other way in.
 */
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
	CHECK(is_hex(SLICE(okm, 42), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
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
	"4c756477696720766f6e204d69736573",
	"4d757272617920526f746862617264",
	"462e20412e20486179656b",
	"4361726c204d656e676572",
	"4a65616e2d426170746973746520536179",
	"457567656e2042f6686d20766f6e2042617765726b",
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
	 "c03693acd830588fac76dd414c9e100e8c601d27511de855100239f7705fa3f2",
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
	 "24c6b51ecb76277140ca018b5985bc9f03de321dae2d34dcae433dafef0131d9",
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
	 "033c8317037cb66a83308d5ae57ebbbea254e7ef2267f296c40baa4beaae4fcc",
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
	 "a477edf6a131bbdb54707f6ea30eab6cd935d9b560f0e5fd1f053a95a99669fb",
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
		CHECK(is_hex(SLICE(hash[i], 32), v->hash));
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

/* ---- the vectors of Debian's golang-github-flynn-noise-dev, where it is installed -------------- */

#define FLYNN_VECTORS "/usr/share/gocode/src/github.com/flynn/noise/vectors.txt"
#define FLYNN_LINE_BYTES 4096

/* One entry of the file, in hex. */
struct flynn {
	char pattern[64];
	char init_static[80], resp_static[80], init_e[80], resp_e[80];
	char prologue[256], psk[80];
	char payload[VECTOR_MESSAGES][1024], ciphertext[VECTOR_MESSAGES][1024];
	size_t count;
};

static void take_flynn_line(struct flynn *f, const char *line)
{
	unsigned n = 0;
	char text[1024] = "";

	(void)(sscanf(line, "handshake=%63s", f->pattern) == 1 ||
	       sscanf(line, "init_static=%79s", f->init_static) == 1 ||
	       sscanf(line, "resp_static=%79s", f->resp_static) == 1 ||
	       sscanf(line, "gen_init_ephemeral=%79s", f->init_e) == 1 ||
	       sscanf(line, "gen_resp_ephemeral=%79s", f->resp_e) == 1 ||
	       sscanf(line, "prologue=%255s", f->prologue) == 1 ||
	       sscanf(line, "preshared_key=%79s", f->psk) == 1);
	if (sscanf(line, "msg_%u_payload=%511s", &n, text) >= 1 && strstr(line, "_payload=") &&
	    n < VECTOR_MESSAGES)
		(void)snprintf(f->payload[n], sizeof(f->payload[n]), "%s", text);
	if (sscanf(line, "msg_%u_ciphertext=%1023s", &n, text) == 2 && n < VECTOR_MESSAGES) {
		(void)snprintf(f->ciphertext[n], sizeof(f->ciphertext[n]), "%s", text);
		f->count = n + 1;
	}
}

static bool flynn_is_ours(const struct flynn *f, struct vector *ret)
{
	char name[64];

	for (int pattern = NOISE_XXPSK3; pattern <= NOISE_KK; pattern++) {
		for (int cipher = NOISE_CHACHAPOLY; cipher <= NOISE_AESGCM; cipher++) {
			(void)snprintf(name, sizeof(name), "Noise_%s_25519_%s_SHA256",
				       pattern == NOISE_KK ? "KK" : "XXpsk3",
				       cipher == NOISE_AESGCM ? "AESGCM" : "ChaChaPoly");
			*ret = (struct vector){.pattern = (enum noise_pattern)pattern,
					       .cipher = (enum noise_cipher)cipher};
			if (strcmp(f->pattern, name) == 0)
				return cipher != NOISE_AESGCM || noise_has_aes();
		}
	}
	return false;
}

static struct noise *flynn_side(const struct flynn *f, const struct vector *v, bool initiator,
				const struct keys *own, const struct keys *other)
{
	AUTO(buf_fini) struct buf prologue = {0};
	AUTO(buf_fini) struct buf psk = {0};
	AUTO(buf_fini) struct buf e = {0};

	from_hex(f->prologue, &prologue);
	from_hex(f->psk, &psk);
	from_hex(initiator ? f->init_e : f->resp_e, &e);
	const struct noise_options o = {
		.pattern = v->pattern,
		.cipher = v->cipher,
		.initiator = initiator,
		.prologue = buf_slice(&prologue),
		.keys = own,
		.remote_pk = keys_device(other)->dh_pk,
		.psk = psk.data,
		.ephemeral = e.data,
	};
	return noise_create(&o);
}

static void check_flynn(const struct flynn *f, const struct vector *v)
{
	AUTO(buf_fini) struct buf payload = {0};
	AUTO(buf_fini) struct buf wire = {0};
	AUTO(buf_fini) struct buf got = {0};
	struct keys *keys[2] = {make_keys("i", f->init_static), make_keys("r", f->resp_static)};
	struct noise *side[2] = {flynn_side(f, v, true, keys[0], keys[1]),
				 flynn_side(f, v, false, keys[1], keys[0])};
	struct noise_key send[2], receive[2];
	size_t m = 0;

	for (; !noise_is_done(side[0]) || !noise_is_done(side[1]); m++) {
		from_hex(f->payload[m], &payload);
		buf_clear(&wire);
		buf_clear(&got);
		CHECK(noise_write(side[m % 2], buf_slice(&payload), &wire) == 0);
		CHECK(is_hex(buf_slice(&wire), f->ciphertext[m]));
		CHECK(noise_read(side[1 - m % 2], buf_slice(&wire), &got) == 0);
		CHECK(slice_eq(buf_slice(&got), buf_slice(&payload)));
	}
	for (size_t i = 0; i < 2; i++) {
		noise_split(side[i], &send[i], &receive[i]);
		noise_destroy(side[i]);
	}
	for (size_t from = 0; m < f->count; m++, from = !from) { /* the initiator goes first */
		from_hex(f->payload[m], &payload);
		buf_clear(&wire);
		buf_clear(&got);
		CHECK(noise_key_seal(&send[from], SLICE("", 0), buf_slice(&payload), &wire) == 0);
		CHECK(is_hex(buf_slice(&wire), f->ciphertext[m]));
		CHECK(noise_key_open(&receive[!from], SLICE("", 0), buf_slice(&wire), &got) == 0);
	}
	keys_destroy(keys[0]);
	keys_destroy(keys[1]);
}

static void test_flynn_vectors(void)
{
	FILE *file = fopen(FLYNN_VECTORS, "r");
	char *line = xcalloc(1, FLYNN_LINE_BYTES);
	struct flynn *f = xcalloc(1, sizeof(*f));
	size_t checked = 0;
	bool more = file != NULL;

	while (more) {
		struct vector v;

		more = fgets(line, FLYNN_LINE_BYTES, file) != NULL;
		if (more && line[0] != '\n') {
			take_flynn_line(f, line);
			continue;
		}
		if (flynn_is_ours(f, &v)) {
			check_flynn(f, &v);
			checked++;
		}
		*f = (struct flynn){0};
	}
	CHECK(!file || checked >= (noise_has_aes() ? 16u : 8u));
	if (!file)
		(void)printf("(%s is not installed)\n", FLYNN_VECTORS);
	if (file)
		(void)fclose(file);
	free(line);
	free(f);
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
			/*
			 * X25519 ignores the highest bit of a key, but not the lowest, changed
			 * here.
			 */
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

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"hkdf_rfc5869", test_hkdf},
		{"noise_vectors", test_vectors},
		{"flynn_vectors", test_flynn_vectors},
		{"handshakes", test_handshakes},
		{"reflected_ephemeral", test_reflected_ephemeral},
		{"low_order_points", test_low_order},
		{"counter_end", test_counter_end},
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
	static const char *const names[] = {"alice", "bob", "mallory", "i", "r"};
	for (size_t i = 0; i < countof(names); i++) {
		AUTO(free_ptr) char *path = xasprintf("%s/%s", directory, names[i]);
		(void)unlink(path);
	}
	return rmdir(directory) == 0 ? 0 : 1;
}
