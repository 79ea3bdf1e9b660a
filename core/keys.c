/*
 * Device identity on libsodium.
 *
 * The key file: "blaze keys 1\n", 32 bytes Ed25519 seed, 32 bytes X25519 secret, bytes name, and
 * the digest() of all before it, which tells damage from a wrong key.
 */
#include "core/keys.h"

#include "core/platform.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS_MAGIC "blaze keys 1\n"
#define KEYS_FILE_BYTES_MAX \
	(sizeof(KEYS_MAGIC) - 1 + 32 + 32 + 1 + DEVICE_NAME_BYTES_MAX + DIGEST_BYTES)
#define CERT_VERSION 1

static_assert(KEYS_PK_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519");
static_assert(KEYS_PK_BYTES == crypto_scalarmult_BYTES, "X25519");
static_assert(KEYS_SIGNATURE_BYTES == crypto_sign_BYTES, "Ed25519");

struct keys {
	uint8_t seed[crypto_sign_SEEDBYTES];
	uint8_t sign_sk[crypto_sign_SECRETKEYBYTES];
	uint8_t dh_sk[crypto_scalarmult_SCALARBYTES];
	struct device device;
};

/* One code point, or 0 when malformed (U+0000 is none we would accept either). Sets *len. */
static uint32_t utf8_next(const uint8_t *p, size_t left, size_t *len)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if ((p[0] & 0xc0) == 0x80 || p[0] >= 0xf8 || n > left)
		return 0;
	*len = n;
	if (n == 1)
		return p[0];
	uint32_t c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	bool surrogate = c >= 0xd800 && c <= 0xdfff;
	return c < lowest[n] || c > 0x10ffff || surrogate ? 0 : c;
}

/* Controls, line separators and the marks that reorder text could make a label lie. */
static bool is_printable(uint32_t c)
{
	static const uint32_t bad[][2] = {
		{0x00, 0x1f},	  {0x7f, 0x9f},	    {0x061c, 0x061c}, {0x200b, 0x200f},
		{0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
	};

	for (size_t i = 0; i < countof(bad); i++) {
		if (c >= bad[i][0] && c <= bad[i][1])
			return false;
	}
	return true;
}

static bool name_is_valid(struct slice name)
{
	if (name.len == 0 || name.len > DEVICE_NAME_BYTES_MAX)
		return false;
	for (size_t i = 0; i < name.len;) {
		size_t n = 0;
		uint32_t c = utf8_next(name.data + i, name.len - i, &n);

		if (!is_printable(c))
			return false;
		i += n;
	}
	return true;
}

/* Fills id and actor from the public keys. false for the one id in 2^64 that has no actor. */
static bool device_identify(struct device *d)
{
	const struct slice parts[] = {SLICE(d->sign_pk, KEYS_PK_BYTES),
				      SLICE(d->dh_pk, KEYS_PK_BYTES)};

	digest(d->id, "blaze device id", parts, countof(parts));
	d->actor = 0;
	for (size_t i = 0; i < 8; i++)
		d->actor = d->actor << 8 | d->id[i];
	return d->actor != 0;
}

/* Never NULL; locked memory where the system allows. */
static struct keys *keys_alloc(void)
{
	struct keys *k = sodium_malloc(sizeof(*k));

	if (!k)
		return xcalloc(SIZE_MAX, 1); /* out of memory: ends the process like everywhere */
	memset(k, 0, sizeof(*k));
	return k;
}

/* Derives all else from seed, dh_sk and name. */
static bool keys_derive(struct keys *k, struct slice name)
{
	assert(name.len <= DEVICE_NAME_BYTES_MAX);
	memcpy(k->device.name, name.data, name.len);
	k->device.name[name.len] = 0;
	(void)crypto_sign_seed_keypair(k->device.sign_pk, k->sign_sk, k->seed);
	if (crypto_scalarmult_base(k->device.dh_pk, k->dh_sk) < 0)
		return false;
	return device_identify(&k->device);
}

static void keys_encode(const struct keys *k, struct buf *out)
{
	(void)buf_reserve(out, KEYS_FILE_BYTES_MAX); /* so that no copy is left behind by growing */
	buf_append(out, KEYS_MAGIC, sizeof(KEYS_MAGIC) - 1);
	buf_append(out, k->seed, sizeof(k->seed));
	buf_append(out, k->dh_sk, sizeof(k->dh_sk));
	buf_bytes(out, SLICE_STR(k->device.name));
	struct slice body = buf_slice(out);
	uint8_t sum[DIGEST_BYTES];
	digest(sum, "blaze key file", &body, 1);
	buf_append(out, sum, sizeof(sum));
	assert(out->len <= KEYS_FILE_BYTES_MAX);
}

static int keys_decode(struct keys *k, struct slice file)
{
	if (file.len < DIGEST_BYTES)
		return -EBADMSG;
	struct slice body = SLICE(file.data, file.len - DIGEST_BYTES);
	uint8_t sum[DIGEST_BYTES];
	digest(sum, "blaze key file", &body, 1);
	if (!secret_eq(sum, file.data + body.len, sizeof(sum)))
		return -EBADMSG;

	struct reader r = reader_init(body);
	struct slice magic = reader_take(&r, sizeof(KEYS_MAGIC) - 1);
	reader_copy(&r, k->seed, sizeof(k->seed));
	reader_copy(&r, k->dh_sk, sizeof(k->dh_sk));
	struct slice name = reader_bytes(&r, DEVICE_NAME_BYTES_MAX);
	if (reader_finish(&r) < 0 || !slice_eq(magic, SLICE_STR(KEYS_MAGIC)) || !name_is_valid(name))
		return -EBADMSG;
	return keys_derive(k, name) ? 0 : -EBADMSG;
}

static int write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.data, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		s = SLICE(s.data + n, s.len - (size_t)n);
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_dir(const char *dir)
{
	AUTO(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

/* Appears at path complete or not at all, and replaces nothing. */
static int write_new(const char *path, const char *dir, struct slice content)
{
	uint64_t tag = 0;

	random_bytes(&tag, sizeof(tag));
	AUTO(free_ptr) char *tmp = xasprintf("%s.%016llx.tmp", path, (unsigned long long)tag);
	AUTO(close_fd) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, content);
	if (r >= 0)
		r = platform_rename_new(tmp, path);
	if (r < 0) {
		(void)unlink(tmp);
		return r;
	}
	return sync_dir(dir);
}

/* The directory part of path; caller frees. */
static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return xasprintf("%.*s", slash == path ? 1 : (int)(slash - path), path);
}

int keys_create(const char *path, const char *device_name, struct keys **ret, struct why *why)
{
	if (!name_is_valid(SLICE_STR(device_name)))
		return why_set(
			why, -EINVAL,
			"a device name is 1 to %d bytes of printable UTF-8; choose another one",
			DEVICE_NAME_BYTES_MAX);
	AUTO(free_ptr) char *dir = dir_of(path);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		int r = -errno;

		return why_set(why, r, "cannot create the directory '%s': %s", dir, strerror(-r));
	}
	struct keys *k = keys_alloc();
	do {
		random_bytes(k->seed, sizeof(k->seed));
		random_bytes(k->dh_sk, sizeof(k->dh_sk));
	} while (!keys_derive(k, SLICE_STR(device_name)));

	struct buf file = {0};
	keys_encode(k, &file);
	int r = write_new(path, dir, buf_slice(&file));
	wipe(file.data, file.len);
	buf_fini(&file);
	if (r < 0) {
		keys_destroy(k);
		return why_set(why, r, "cannot write the key file '%s': %s", path, strerror(-r));
	}
	*ret = k;
	return 0;
}

/* Reads at most cap bytes; one byte more than the largest file shows that it is too long. */
static ssize_t read_all(int fd, uint8_t *out, size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = read(fd, out + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int keys_load(const char *path, struct keys **ret, struct why *why)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = -errno;

		return why_set(why, r, "cannot open the key file '%s': %s", path, strerror(-r));
	}
	if (!S_ISREG(st.st_mode))
		return why_set(why, -EBADMSG, "the key file '%s' is not a regular file", path);
	if (st.st_mode & 077)
		return why_set(
			why, -EACCES,
			"others may read the key file '%s'; if you trust it still, run: chmod 600 '%s'",
			path, path);

	uint8_t file[KEYS_FILE_BYTES_MAX + 1];
	ssize_t n = read_all(fd, file, sizeof(file));
	if (n < 0)
		return why_set(why, (int)n, "cannot read the key file '%s': %s", path,
			       strerror((int)-n));
	struct keys *k = keys_alloc();
	int r = keys_decode(k, SLICE(file, (size_t)n));
	wipe(file, sizeof(file));
	if (r < 0) {
		keys_destroy(k);
		return why_set(why, r, "the key file '%s' is damaged; restore it from a backup",
			       path);
	}
	*ret = k;
	return 0;
}

void keys_destroy(struct keys *k)
{
	sodium_free(k); /* wipes; allows NULL */
}

const struct device *keys_device(const struct keys *k)
{
	return &k->device;
}

void keys_sign(const struct keys *k, struct slice message, uint8_t ret[KEYS_SIGNATURE_BYTES])
{
	(void)crypto_sign_detached(ret, NULL, message.data, message.len, k->sign_sk);
}

bool keys_verify(const uint8_t sign_pk[KEYS_PK_BYTES], struct slice message,
		 const uint8_t signature[KEYS_SIGNATURE_BYTES])
{
	return crypto_sign_verify_detached(signature, message.data, message.len, sign_pk) == 0;
}

int keys_dh(const struct keys *k, const uint8_t pk[KEYS_PK_BYTES], uint8_t ret[32])
{
	return crypto_scalarmult(ret, k->dh_sk, pk) == 0 ? 0 : -EBADMSG;
}

void keys_dh_ephemeral(const uint8_t pk[KEYS_PK_BYTES], uint8_t ret_pk[KEYS_PK_BYTES],
		       uint8_t ret_shared[32])
{
	uint8_t sk[crypto_scalarmult_SCALARBYTES];

	random_bytes(sk, sizeof(sk));
	(void)crypto_scalarmult_base(ret_pk, sk);
	if (crypto_scalarmult(ret_shared, sk, pk) != 0)
		random_bytes(ret_shared, 32); /* a point of low order: nobody shall open it */
	wipe(sk, sizeof(sk));
}

/* What the certificate's signature covers: the context, then all before the signature. */
static void cert_signed(struct slice body, struct buf *out)
{
	buf_append(out, "blaze device", strlen("blaze device"));
	buf_slice_append(out, body);
}

void keys_cert(const struct keys *k, struct buf *out)
{
	const struct device *d = &k->device;
	size_t start = out->len;

	buf_u8(out, CERT_VERSION);
	buf_append(out, d->sign_pk, sizeof(d->sign_pk));
	buf_append(out, d->dh_pk, sizeof(d->dh_pk));
	buf_bytes(out, SLICE_STR(d->name));

	AUTO(buf_fini) struct buf message = {0};
	uint8_t signature[KEYS_SIGNATURE_BYTES];
	cert_signed(SLICE(out->data + start, out->len - start), &message);
	keys_sign(k, buf_slice(&message), signature);
	buf_append(out, signature, sizeof(signature));
	assert(out->len - start <= DEVICE_CERT_BYTES_MAX);
}

int device_read_cert(struct slice cert, struct device *ret)
{
	struct reader r = reader_init(cert);
	struct device d = {0};
	uint8_t signature[KEYS_SIGNATURE_BYTES];

	uint8_t version = reader_u8(&r);
	reader_copy(&r, d.sign_pk, sizeof(d.sign_pk));
	reader_copy(&r, d.dh_pk, sizeof(d.dh_pk));
	struct slice name = reader_bytes(&r, DEVICE_NAME_BYTES_MAX);
	reader_copy(&r, signature, sizeof(signature));
	if (reader_finish(&r) < 0 || version != CERT_VERSION || !name_is_valid(name))
		return -EBADMSG;
	memcpy(d.name, name.data, name.len);
	if (!device_identify(&d))
		return -EBADMSG;
	*ret = d;
	return 0;
}

int device_from_cert(struct slice cert, struct device *ret)
{
	AUTO(buf_fini) struct buf message = {0};
	struct device d;
	int r = device_read_cert(cert, &d);

	if (r < 0)
		return r;
	struct slice body = SLICE(cert.data, cert.len - KEYS_SIGNATURE_BYTES);
	cert_signed(body, &message);
	if (!keys_verify(d.sign_pk, buf_slice(&message), body.data + body.len))
		return -EBADMSG;
	*ret = d;
	return 0;
}

void device_label(const struct device *d, char out[DEVICE_LABEL_BYTES])
{
	static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	uint64_t bits = d->actor >> 24; /* the first 40 */
	char code[8];

	for (size_t i = 0; i < sizeof(code); i++)
		code[i] = base32[bits >> (35 - 5 * i) & 31];
	(void)snprintf(out, DEVICE_LABEL_BYTES, "b1:%s-%.4s-%.4s", d->name, code, code + 4);
}
