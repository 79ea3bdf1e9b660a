/* Certificates with OpenSSL. */
#include "net/tls.h"

#include "core/log.h"
#include "net/endpoint.h"

#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (256u << 10)
#define CHAIN_MAX 16
#define CURVE "P-256"
/* RFC 5280, 4.1.2.5: has no end. */
#define NEVER "99991231235959Z"

struct tls_identity {
	X509 *cert;
	STACK_OF(X509) * chain; /* above cert, its issuer first */
	EVP_PKEY *key;
	char path[PATH_MAX];
};

static void pkey_free(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

static void x509_free(X509 **p)
{
	X509_free(*p);
}

static void bio_free(BIO **p)
{
	(void)BIO_free(*p);
}

static void ctx_free(SSL_CTX **p)
{
	SSL_CTX_free(*p);
}

static void wipe_buf(struct buf *b)
{
	if (b->data)
		OPENSSL_cleanse(b->data, b->cap);
	buf_fini(b);
}

/* ---- files ---------------------------------------------------------------------------------- */

static int read_failed(struct why *why, int r, const char *path)
{
	return why_set(why, r, "cannot read %s: %s%s", path, strerror(-r),
		       r == -EACCES ? "; the user that runs the relay has to be able to" : "");
}

static int read_pem(const char *path, bool secret, struct buf *ret, struct why *why)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return read_failed(why, -errno, path);
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
		return why_set(why, -EBADMSG, "%s is no PEM file", path);
	if (secret && (st.st_mode & 07))
		return why_set(why, -EPERM,
			       "%s is a private key that every user can read: chmod o= it", path);
	buf_resize(ret, (size_t)st.st_size);
	size_t n = 0;
	while (n < ret->len) {
		ssize_t got = read(fd, ret->data + n, ret->len - n);

		if (got < 0)
			return read_failed(why, -errno, path);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	buf_resize(ret, n);
	return 0;
}

static BIO *memory(const struct buf *b)
{
	BIO *bio = BIO_new_mem_buf(b->len ? (const void *)b->data : "", (int)b->len);

	assert(bio);
	return bio;
}

static int load_certs(struct tls_identity *i, const char *path, struct why *why)
{
	AUTO(buf_fini) struct buf text = {0};
	int r = read_pem(path, false, &text, why);

	if (r < 0)
		return r;
	AUTO(bio_free) BIO *bio = memory(&text);
	i->cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!i->cert)
		return why_set(why, -EBADMSG,
			       "%s holds no certificate: a PEM file is wanted, that begins with "
			       "-----BEGIN CERTIFICATE-----",
			       path);
	for (X509 *next; (next = PEM_read_bio_X509(bio, NULL, NULL, NULL));) {
		if (sk_X509_num(i->chain) == CHAIN_MAX || !sk_X509_push(i->chain, next)) {
			X509_free(next);
			return why_set(why, -EBADMSG, "%s holds more than %d certificates", path,
				       CHAIN_MAX);
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return why_set(why, -EBADMSG, "%s is damaged after its first certificate", path);
	return 0;
}

/* Nobody is there to be asked. */
static int no_password(char *out, int size, int writing, void *ctx)
{
	(void)out;
	(void)size;
	(void)writing;
	*(bool *)ctx = true;
	return -1;
}

static int load_key(struct tls_identity *i, const char *path, struct why *why)
{
	AUTO(wipe_buf) struct buf text = {0};
	bool locked = false;
	int r = read_pem(path, true, &text, why);

	if (r < 0)
		return r;
	AUTO(bio_free) BIO *bio = memory(&text);
	i->key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &locked);
	if (i->key)
		return 0;
	if (locked)
		return why_set(why, -EBADMSG,
			       "%s is locked with a password, which nobody can be asked for: "
			       "store it without one",
			       path);
	return why_set(why, -EBADMSG, "%s holds no private key that can be read", path);
}

/* What OpenSSL would refuse when it is too late. */
static int try_out(const struct tls_identity *i, const char *cert_path, const char *key_path,
		   struct why *why)
{
	AUTO(ctx_free) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (X509_check_private_key(i->cert, i->key) != 1)
		return why_set(why, -EBADMSG, "%s is not the key of the certificate in %s",
			       key_path, cert_path);
	assert(ctx);
	ERR_clear_error();
	if (tls_serve(ctx, i) < 0) {
		const char *text = ERR_reason_error_string(ERR_peek_last_error());

		return why_set(why, -EBADMSG, "the certificate in %s cannot be used: %s", cert_path,
			       text ? text : "OpenSSL refuses it");
	}
	return 0;
}

int tls_identity_load(const char *cert_path, const char *key_path, struct tls_identity **ret,
		      struct why *why)
{
	struct tls_identity *i = xcalloc(1, sizeof(*i));

	(void)snprintf(i->path, sizeof(i->path), "%s", cert_path);
	i->chain = sk_X509_new_null();
	assert(i->chain);
	ERR_clear_error();
	int r = load_certs(i, cert_path, why);
	if (r == 0)
		r = load_key(i, key_path, why);
	if (r == 0)
		r = try_out(i, cert_path, key_path, why);
	ERR_clear_error();
	if (r < 0)
		tls_identity_destroy(i);
	else
		*ret = i;
	return r;
}

void tls_identity_destroy(struct tls_identity *i)
{
	if (!i)
		return;
	X509_free(i->cert);
	sk_X509_pop_free(i->chain, X509_free);
	EVP_PKEY_free(i->key);
	free(i);
}

/* ---- what it is ------------------------------------------------------------------------------ */

bool tls_identity_is_self_signed(const struct tls_identity *i)
{
	return X509_self_signed(i->cert, 1) == 1;
}

static bool pin_of(const X509 *cert, uint8_t ret[TLS_PIN_BYTES])
{
	uint8_t *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	bool ok = len > 0 && EVP_Digest(der, (size_t)len, ret, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	return ok;
}

void tls_identity_pin(const struct tls_identity *i, uint8_t ret[TLS_PIN_BYTES])
{
	bool ok = pin_of(i->cert, ret);

	assert(ok);
}

int tls_identity_check_time(const struct tls_identity *i, int64_t now_s, struct why *why)
{
	const ASN1_TIME *end = X509_get0_notAfter(i->cert);
	time_t now = (time_t)now_s;
	struct tm tm;
	char day[32] = "?";

	if (X509_cmp_time(X509_get0_notBefore(i->cert), &now) > 0)
		return why_set(why, -EKEYEXPIRED,
			       "the certificate in %s is not valid yet: is the clock right?",
			       i->path);
	if (X509_cmp_time(end, &now) > 0)
		return 0;
	if (ASN1_TIME_to_tm(end, &tm) == 1)
		(void)strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	return why_set(why, -EKEYEXPIRED, "the certificate in %s expired on %s: renew it", i->path,
		       day);
}

/* ---- making one ------------------------------------------------------------------------------ */

static bool add_names(X509 *cert, const char *host)
{
	const struct endpoint e = {.port = 0};
	struct endpoint named = e;

	(void)snprintf(named.host, sizeof(named.host), "%s", host);
	AUTO(free_ptr)
	char *value = xasprintf("%s:%s", endpoint_is_numeric(&named) ? "IP" : "DNS", host);
	X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, value);
	bool ok = names && X509_add_ext(cert, names, -1) == 1;

	X509_EXTENSION_free(names);
	return ok;
}

static bool fill(X509 *cert, EVP_PKEY *key, const char *host)
{
	static const char common_name[] = "blaze-relay";
	X509_NAME *name = X509_get_subject_name(cert);
	BIGNUM *serial = BN_new();
	bool ok = serial && BN_rand(serial, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
		  BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) &&
		  X509_set_version(cert, X509_VERSION_3) == 1 &&
		  X509_gmtime_adj(X509_getm_notBefore(cert), -24L * 60 * 60) &&
		  ASN1_TIME_set_string(X509_getm_notAfter(cert), NEVER) == 1 &&
		  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					     (const unsigned char *)common_name, -1, -1, 0) == 1 &&
		  X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
		  add_names(cert, host) && X509_sign(cert, key, EVP_sha256()) > 0;

	BN_free(serial);
	return ok;
}

static void take(BIO *bio, struct buf *ret)
{
	const char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);

	buf_append(ret, data, (size_t)len);
}

int tls_make(const char *host, struct buf *ret_cert, struct buf *ret_key, struct why *why)
{
	AUTO(pkey_free) EVP_PKEY *key = EVP_EC_gen(CURVE);
	AUTO(x509_free) X509 *cert = X509_new();
	AUTO(bio_free) BIO *cert_text = BIO_new(BIO_s_mem());
	AUTO(bio_free) BIO *key_text = BIO_new(BIO_s_secmem());

	if (!key || !cert || !cert_text || !key_text || !fill(cert, key, host) ||
	    PEM_write_bio_X509(cert_text, cert) != 1 ||
	    PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) != 1)
		return why_set(why, -EIO, "cannot make a certificate for %s: %s", host,
			       ERR_reason_error_string(ERR_peek_last_error()));
	take(cert_text, ret_cert);
	take(key_text, ret_key);
	return 0;
}

/* ---- handles of OpenSSL's -------------------------------------------------------------------- */

/* What came in of one SSL; kept in its ex_data, so that it is counted from the first byte. */
struct count {
	size_t bytes;
	bool trusted;
};

static int count_index = -1; /* set by the thread that serves, as all below */

static void free_count(void *parent, void *count, CRYPTO_EX_DATA *data, int index, long arg,
		       void *ctx)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)arg;
	(void)ctx;
	free(count);
}

static struct count *count_of(SSL *ssl)
{
	struct count *c = SSL_get_ex_data(ssl, count_index);

	if (!c) {
		c = xcalloc(1, sizeof(*c));
		(void)SSL_set_ex_data(ssl, count_index, c);
	}
	return c;
}

/* Each record has a header of 5 bytes, whose last two say how much follows. */
static void count_record(int writing, int version, int type, const void *data, size_t len, SSL *ssl,
			 void *arg)
{
	const uint8_t *header = data;

	(void)version;
	(void)arg;
	if (writing || type != SSL3_RT_HEADER || len != SSL3_RT_HEADER_LENGTH)
		return;
	struct count *c = count_of(ssl);
	if (c->trusted)
		return;
	c->bytes += SSL3_RT_HEADER_LENGTH + ((size_t)header[3] << 8 | header[4]);
	if (c->bytes <= TLS_UNTRUSTED_BYTES_MAX)
		return;
	log_info("a connection that is not trusted sent too much of TLS: cut off");
	c->trusted = true; /* once is enough: nothing more can come */
	(void)shutdown(SSL_get_fd(ssl), SHUT_RDWR);
}

int tls_serve(void *ssl_ctx, const struct tls_identity *i)
{
	SSL_CTX *ctx = ssl_ctx;

	if (count_index < 0)
		count_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_count);
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_msg_callback(ctx, count_record);
	return SSL_CTX_use_cert_and_key(ctx, i->cert, i->key, i->chain, 1) == 1 ? 0 : -EINVAL;
}

void tls_trust(void *ssl)
{
	count_of(ssl)->trusted = true;
}

bool tls_accept_peer(void *store_ctx, const uint8_t *pin)
{
	X509_STORE_CTX *ctx = store_ctx;
	uint8_t shown[TLS_PIN_BYTES];
	const X509 *cert = X509_STORE_CTX_get0_cert(ctx);

	if (pin && (!cert || !pin_of(cert, shown) || CRYPTO_memcmp(shown, pin, sizeof(shown)) != 0)) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
		return false;
	}
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return true;
}
