/* LIMITS: who fails too often waits, and nobody else does. */
#include "core/base.h"
#include "net/attempts.h"

#include <stdio.h>

static struct attempts a;

static void fail(uint64_t who, const char *address, unsigned times, uint64_t now_ms)
{
	for (unsigned i = 0; i < times; i++)
		(void)attempts_failed(&a, who, address, now_ms);
}

int main(void)
{
	const uint64_t t = 1000000;

	fail(1, "10.0.0.1", ATTEMPTS_MAX - 1, t);
	assert(attempts_may(&a, 1, "10.0.0.1", t));
	assert(attempts_failed(&a, 1, "10.0.0.1", t + 30000));
	assert(!attempts_may(&a, 1, "10.0.0.1", t + 30001));
	/* Another member, another address, and who recovers are not concerned. */
	assert(attempts_may(&a, 2, "10.0.0.1", t + 30001) &&
	       attempts_may(&a, 1, "10.0.0.2", t + 30001) &&
	       attempts_may(&a, 0, "10.0.0.1", t + 30001));
	/* It waits a minute from the last one, not from the first, and trying does not make it longer. */
	assert(!attempts_failed(&a, 1, "10.0.0.1", t + 80000));
	assert(!attempts_may(&a, 1, "10.0.0.1", t + 89999));
	assert(attempts_may(&a, 1, "10.0.0.1", t + 90000));

	/* A few now and then, over hours, are no reason to wait. */
	for (uint64_t i = 0; i < 100; i++) {
		assert(attempts_may(&a, 3, "10.0.0.1", t + i * 10000));
		(void)attempts_failed(&a, 3, "10.0.0.1", t + i * 10000);
	}

	/* From very many addresses: the table stays as large as it is, and the last one is still counted. */
	for (unsigned i = 0; i < 10 * ATTEMPTS_COUNT; i++) {
		char address[32];

		(void)snprintf(address, sizeof(address), "10.1.%u.%u", i / 256, i % 256);
		fail(4, address, ATTEMPTS_MAX, t + i);
		assert(!attempts_may(&a, 4, address, t + i));
	}
	(void)printf("ok\n");
	return 0;
}
