/*
 * Moves messages between this database and those of other devices. Owns the network thread, which
 * alone touches libwebsockets; every function here may be called from any other thread.
 *
 * Besides the address, it listens on a Unix socket for other devices of this user on this machine (net/local.h). The mounts
 * of one home share all of that, and one connection to each device (net/carriage.h).
 *
 * On the wire: WebSocket (path /blaze/1, subprotocol "blaze1", binary messages, no extensions), inside
 * it lanes (net/trunk.h), inside these Noise (net/noise.h), inside it records of at most 32 KiB (net/channel.h), inside them the messages
 * of core/sync.h.
 */
#ifndef BLAZE_NET_NET_H
#define BLAZE_NET_NET_H

#include "core/db.h"
#include "core/status.h"
#include "core/why.h"

struct net;

struct net_options {
	struct db *db;
	const struct keys *keys;
	struct status *status;
	/** "address:port" to listen on, port 0 = any; NULL = do not listen, only dial. IPv6 in brackets. */
	const char *listen;
	/** The directory that the databases of this device share; NULL = its connections are for this database alone. */
	const char *home;
};

/** Starts the thread and listens (so that a used port is reported here). Call after the last fork. */
int net_start(const struct net_options *options, struct net **ret, struct why *why);
/** Says BYE to the peers, stops the thread. NULL is allowed. */
void net_stop(struct net *n);
/** Starts listening later on, or does nothing when it listens already. */
int net_listen(struct net *n, const char *address, struct why *why);
/** The address really bound, as "address:port"; "" when not listening. */
void net_endpoint(struct net *n, char out[ENDPOINT_BYTES_MAX + 1]);

/** A setting of this device changed that is about whom to dial (core/topology.h). */
void net_refresh(struct net *n);
/** Times a PING to this member. 0; -ENOTCONN now; -ETIMEDOUT at monotonic deadline_ms; -EBUSY too many at once. */
int net_ping(struct net *n, uint64_t actor, uint64_t deadline_ms, int64_t *ret_rtt_us);

/* ---- relays: net/relays.h ------------------------------------------------------------------- */

struct relay_info;

int net_relay_add(struct net *n, const char *address, struct why *why);
int net_relay_remove(struct net *n, const char *address, struct why *why);
size_t net_relay_list(struct net *n, struct relay_info **ret);
/** SMART: as relays_grant(), relays_revoke() and relays_wait_copy(). */
int net_relay_grant(struct net *n, const char *address, const struct grant_info *list, size_t count,
		    uint64_t deadline_ms, struct why *why);
int net_relay_revoke(struct net *n, const char *address, struct why *why);
int net_relay_wait_copy(struct net *n, const char *address, bool wanted, uint64_t deadline_ms,
			struct relay_info *ret);
struct folder_info;

/** folder: net/folders.h. path is absolute. */
int net_folder_add(struct net *n, const char *path, struct why *why);
int net_folder_remove(struct net *n, const char *path, struct why *why);
size_t net_folder_list(struct net *n, struct folder_info **ret);
/** Whether every relay that can be reached has all that is here, safely. Folders write what they can when they end. */
bool net_relays_have_all(struct net *n);

/* ---- pairing -------------------------------------------------------------------------------- */

#define INVITE_TTL_MS (5 * 60 * 1000)
#define NET_RELAYS_MS 3000
/** Four words and what is between them. */
#define NET_WORDS_BYTES 64

struct invite_options {
	uint64_t ttl_ms;
	enum member_role role; /**< of the other device */
	bool ask; /**< somebody has to say yes to the other device: net_invite_answer() */
};

/** What the other device is told: one of both. Wipe after use. */
struct invite_text {
	char code[32];			    /**< "7-orbit-walnut" */
	char relay[ENDPOINT_BYTES_MAX + 1]; /**< "code@relay" finds this device there, too; "" = at none */
	/**
	 * "blaze:pair#v1.SECRET.DEVICE.EXPIRY.ADDR[,ADDR…]" (secret and device id base64url, expiry in seconds of wall
	 * clock).
	 */
	struct buf link;
};

/**
 * Makes a one-use invitation. Starts listening on all addresses if it did not, and has it wait at the relays too (RENDEZVOUS),
 * whose answers may take NET_RELAYS_MS. *ret_id names the invitation.
 */
int net_invite(struct net *n, const struct invite_options *options, struct invite_text *ret,
	       uint64_t *ret_id, struct why *why);

enum invite_state {
	INVITE_WAITING,
	INVITE_ASKING,	 /**< ret_device and ret_words are filled: shall it join? */
	INVITE_DONE,	 /**< ret_device and ret_words are filled */
	INVITE_WRONG,	 /**< somebody tried with a wrong secret: void now */
	INVITE_DECLINED, /**< by net_invite_answer() */
	INVITE_EXPIRED,
	INVITE_UNKNOWN
};

/** Waits until the invitation is no longer INVITE_WAITING, or until monotonic deadline_ms. */
enum invite_state net_invite_wait(struct net *n, uint64_t id, uint64_t deadline_ms,
				  struct device *ret_device, char ret_words[NET_WORDS_BYTES]);
void net_invite_answer(struct net *n, uint64_t id, bool yes);
void net_invite_cancel(struct net *n, uint64_t id);

struct pair_result {
	struct device peer;
	char endpoint[ENDPOINT_BYTES_MAX + 1]; /**< the one that answered */
	bool by_relay;			       /**< that is a relay, not the device */
	char words[NET_WORDS_BYTES]; /**< the same on both devices unless someone is in between */
	struct buf welcome;	     /**< for db_join() */
};

struct pair_confirm {
	/** Both devices have proven who they are: shows the words. welcome is empty yet. */
	void (*proven)(void *ctx, const struct pair_result *offer);
	/**
	 * Asked once, before the other device admits this one. < 0: leaves without having joined. It may take a person's time;
	 * the other side waits 5 minutes.
	 */
	int (*confirm)(void *ctx, const struct pair_result *offer);
	void *ctx;
};

/** Whether text looks like a pairing code, such as "7-orbit-walnut" or "482913-orbit-walnut@example.org". */
bool net_is_code(const char *text);

struct account;

#define RECOVER_WITHOUT_MAX 48

struct pair_target {
	const char *text; /**< a link or a code; NULL: `account` says who we are */
	const struct account *account;
	/** For a code: where the other device is, or NULL = find it. For an account it has to be said. */
	const char *at;
	/** Account: this database; NULL = any of it but the first RECOVER_WITHOUT_MAX or fewer here. Borrowed. */
	const struct id *database;
	const struct id *without;
	size_t without_count;
	/** Account: the id of the device that has to answer; NULL = any. Borrowed. */
	const uint8_t *device_id;
	uint64_t timeout_ms;
};

/**
 * Joins with a link or a code: connects, proves the secret, exchanges certificates, asks `confirm`. Blocks, up to
 * timeout_ms besides the persons' time; uses no other part of net and needs no database. On failure why says
 * which of "not a pairing link", "expired N minutes ago", "already used", "not known there", "wrong",
 * "cannot reach ADDR: reason" it was and what to do; the code is -EKEYREJECTED for all that concern
 * trust, -ENOENT if there is no (other) database of the account, -EINVAL for no link, -ECONNREFUSED or -ETIMEDOUT when nobody answers, -ECANCELED when
 * confirm said no (why is empty then).
 */
int net_pair_join(const struct pair_target *target, const struct keys *keys,
		  const struct pair_confirm *confirm, struct pair_result *ret, struct why *why);

#endif
