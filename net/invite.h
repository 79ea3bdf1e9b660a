/*
 * The invitations this device has given out: each as a link and as a code, of which one can be used. Thread-safe.
 *
 *     WAITING ──claim──▶ (claimed) ──ask──▶ ASKING ──answer yes──▶ (claimed) ──finish──▶ DONE
 *        ▲                  │  └──wrong──▶ WRONG └──answer no──▶ DECLINED
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
/** An address as net/mailaddr.h shows it. */
#define INVITE_RELAY_BYTES (ENDPOINT_BYTES_MAX + 8)
#define INVITE_MEMORY_MS (24ull * 60 * 60 * 1000)

struct invites;

/** db must outlive it. */
struct invites *invites_create(struct db *db);
void invites_destroy(struct invites *v);

/** What an invitation is used with. */
struct invite_secrets {
	uint8_t link[32];
	uint32_t nameplate;
	uint8_t code[32];	   /**< code_make() */
	struct find_ad *published; /**< for find_withdraw(), when it is over. Taken over */
};

/**
 * Makes an invitation valid for ttl_ms, for a device of this role. ask: somebody has to say yes before the other device is given anything. -EAGAIN when
 * INVITE_COUNT_MAX are waiting; nothing is taken over then.
 */
int invites_add(struct invites *v, const struct invite_options *options,
		struct invite_secrets *secrets, uint64_t *ret_id);
/** What who comes with it is to be; of one that is gone, as little as can be. */
enum member_role invites_role(struct invites *v, uint64_t id);
void invites_cancel(struct invites *v, uint64_t id);
/** As net_invite_wait(). */
enum invite_state invites_wait(struct invites *v, uint64_t id, uint64_t deadline_ms,
			       struct device *ret_device, char ret_words[NET_WORDS_BYTES]);
/** What the person said who was asked. */
void invites_answer(struct invites *v, uint64_t id, bool yes);

/* ---- RENDEZVOUS: where invitations wait besides here -------------------------------------------- */

/** What a relay said of an invitation. */
struct invite_place {
	char relay[INVITE_RELAY_BYTES]; /**< as it is shown */
	uint8_t code;			/**< 0: it waits there; else an enum mail_error */
};

struct invite_wait {
	uint64_t id;
	uint32_t nameplate;
	bool claimed; /**< somebody is using it right now */
};

/** Those that wait for somebody, or are being used. Returns the count. */
size_t invites_waiting(struct invites *v, struct invite_wait ret[INVITE_COUNT_MAX]);
/** A relay's answer, the newest of each. */
void invites_placed(struct invites *v, uint64_t id, const struct invite_place *place);
/** The answers that came. Returns the count, at most max. */
size_t invites_places(struct invites *v, uint64_t id, struct invite_place *ret, size_t max);

/* Net thread only: */

/**
 * HELLO_OK: the secret that the hello wants is in ret_secret, and nobody else gets it until release, wrong or finish with
 * *ret_id.
 */
enum hello_status invites_claim(struct invites *v, const struct hello *h, uint8_t ret_secret[32],
				uint64_t *ret_id);
/** Whether invites_claim() would say anything but HELLO_UNKNOWN. */
bool invites_know(struct invites *v, const struct hello *h);
/** It waits again; but a code that was tried is void. */
void invites_release(struct invites *v, uint64_t id);
void invites_wrong(struct invites *v, uint64_t id);
/** The other device proved who it is. 1: it may be welcomed at once; 0: ask again later. */
int invites_ask(struct invites *v, uint64_t id, const struct device *d, const char *words);
/** 1 yes, 0 nobody has answered yet, < 0 no. */
int invites_answered(struct invites *v, uint64_t id);
void invites_finish(struct invites *v, uint64_t id, const struct device *d, const char *words);

#endif
