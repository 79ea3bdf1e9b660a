/* Cheap signatures and repeatable randomness. */
#include "tests/sim/light.h"

#include "core/base.h"

#include <string.h>

#define SIGNATURE_BYTES 64
#define PK_BYTES 32

/* libsodium's prototypes, with the names the linker gives. */
void __wrap_randombytes_buf(void *buf, size_t size);
int __wrap_crypto_sign_detached(unsigned char *sig, unsigned long long *sig_len,
				const unsigned char *m, unsigned long long m_len,
				const unsigned char *sk);
int __wrap_crypto_sign_verify_detached(const unsigned char *sig, const unsigned char *m,
				       unsigned long long m_len, const unsigned char *pk);

static uint64_t state;

uint64_t light_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

void light_seed(uint64_t seed)
{
	state = seed;
}

void __wrap_randombytes_buf(void *buf, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buf)[i] = (uint8_t)light_mix(++state);
}

static void checksum(const unsigned char *m, size_t len, const unsigned char *pk,
		     unsigned char out[SIGNATURE_BYTES])
{
	uint64_t h = len;

	for (size_t i = 0; i < len; i++)
		h = light_mix(h ^ m[i]);
	for (size_t i = 0; i < PK_BYTES; i++)
		h = light_mix(h ^ pk[i]);
	for (size_t i = 0; i < SIGNATURE_BYTES; i++)
		out[i] = (unsigned char)(h >> 8 * (i % 8));
}

/* The public key is the second half of the secret one. */
int __wrap_crypto_sign_detached(unsigned char *sig, unsigned long long *sig_len,
				const unsigned char *m, unsigned long long m_len,
				const unsigned char *sk)
{
	checksum(m, m_len, sk + PK_BYTES, sig);
	if (sig_len)
		*sig_len = SIGNATURE_BYTES;
	return 0;
}

int __wrap_crypto_sign_verify_detached(const unsigned char *sig, const unsigned char *m,
				       unsigned long long m_len, const unsigned char *pk)
{
	unsigned char want[SIGNATURE_BYTES];

	checksum(m, m_len, pk, want);
	return memcmp(want, sig, sizeof(want)) == 0 ? 0 : -1;
}
