/*
 * The invitations this device has given out. Thread-safe.
 *
 *     WAITING ──claim──▶ (claimed) ──finish──▶ DONE
 *        ▲                  │  └──wrong──▶ WRONG
 *        └────release───────┘
 *
 * Those used are remembered for a day in the database's settings (key "invites": "ID:TIME ID:TIME
 * …", ID in hex, TIME wall clock in ms), so that "already used" is the answer also after a restart.
 */
#ifndef BLAZE_NET_INVITE_H
#define BLAZE_NET_INVITE_H

#include "net/hello.h"
#include "net/net.h"

#define INVITE_COUNT_MAX 32
#define INVITE_USED_MAX 64
#define INVITE_MEMORY_MS (24ull * 60 * 60 * 1000)

struct invites;

/** db must outlive it. */
struct invites *invites_create(struct db *db);
void invites_destroy(struct invites *v);

/** Makes an invitation valid for ttl_ms. -EAGAIN when INVITE_COUNT_MAX are waiting. */
int invites_add(struct invites *v, uint64_t ttl_ms, uint8_t ret_secret[32], uint64_t *ret_id);
void invites_cancel(struct invites *v, uint64_t id);
/** As net_invite_wait(). */
enum invite_state invites_wait(struct invites *v, uint64_t id, uint64_t deadline_ms,
			       struct device *ret_device, char ret_code[16]);

/* Net thread only, by the id of the hello: */

/**
 * HELLO_OK: the secret is in ret_secret, and nobody else gets it until release, wrong or finish.
 */
enum hello_status invites_claim(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES],
				uint8_t ret_secret[32]);
void invites_release(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES]);
void invites_wrong(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES]);
void invites_finish(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES], const struct device *d,
		    const char *code);

#endif
