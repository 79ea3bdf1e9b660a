/*
 * TLS: certificates, and what is pinned of one. What is behind this alone knows OpenSSL; net/ws_tls.c brings it together
 * with libwebsockets, whose handles of OpenSSL's are `void *` here.
 *
 * TLS carries a connection through networks that let nothing else pass, and hides that it is Blaze's. Nothing relies on
 * it: who answers is proven by the Noise handshake inside. So no certificate is checked against authorities or dates; only
 * where an address has a *pin*, SHA-256 of the public key in the certificate (SubjectPublicKeyInfo in DER, as RFC 7469 has
 * it), another key ends the connection before a word of ours.
 */
#ifndef BLAZE_NET_TLS_H
#define BLAZE_NET_TLS_H

#include "core/bytes.h"
#include "core/why.h"

#define TLS_PIN_BYTES 32
/**
 * Of what a client sends before it is trusted, TLS' own part: a ClientHello has 2 KiB at most, with post-quantum shares
 * 4 KiB, and the handshake of ours and the request come after it.
 */
#define TLS_UNTRUSTED_BYTES_MAX 16384

/** A certificate, those that vouch for it, and its private key. */
struct tls_identity;

/**
 * Reads PEM files. -ENOENT, -EACCES, -EPERM (everybody may read the key), -EBADMSG (damaged, not of each other, too weak);
 * why says which file, and what to do. Dates are left to tls_identity_check_time().
 */
int tls_identity_load(const char *cert_path, const char *key_path, struct tls_identity **ret,
		      struct why *why);
/** NULL is allowed. */
void tls_identity_destroy(struct tls_identity *i);
/** Nobody else vouches for it: then it is worth to be pinned. Others are renewed, often with another key. */
bool tls_identity_is_self_signed(const struct tls_identity *i);
void tls_identity_pin(const struct tls_identity *i, uint8_t ret[TLS_PIN_BYTES]);
/** -EKEYEXPIRED: it is valid no longer, or not yet. now_s: wall clock. */
int tls_identity_check_time(const struct tls_identity *i, int64_t now_s, struct why *why);
/** Makes a key and a certificate for it that does not expire, for the host that people will dial; both PEM. Wipe the key. */
int tls_make(const char *host, struct buf *ret_cert, struct buf *ret_key, struct why *why);

/* ---- handles of OpenSSL's -------------------------------------------------------------------- */

/**
 * Connections accepted with this SSL_CTX from now on show this identity, and are cut off when they send more than
 * TLS_UNTRUSTED_BYTES_MAX before tls_trust(). -EINVAL.
 */
int tls_serve(void *ssl_ctx, const struct tls_identity *i);
/** This SSL's peer may send what it likes from now on. */
void tls_trust(void *ssl);
/** Accepts what the peer shows, whoever signed it; false: pin is not NULL, and it shows another key. */
bool tls_accept_peer(void *store_ctx, const uint8_t *pin);

#endif
