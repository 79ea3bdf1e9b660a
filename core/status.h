/*
 * What is known about the other devices right now: written by net, read by fs and cli. Thread-safe.
 */
#ifndef BLAZE_CORE_STATUS_H
#define BLAZE_CORE_STATUS_H

#include "core/keys.h"

enum peer_state {
	PEER_OFFLINE,
	PEER_CONNECTING,
	PEER_SYNCING, /**< connected; one side still lacks changes */
	PEER_SYNCED
};

/** How a peer is reached. */
enum peer_path {
	PATH_NONE,
	PATH_DIRECT, /**< over a network */
	PATH_LOCAL,  /**< within this machine, through a Unix socket */
	PATH_RELAY,
	PATH_FOLDER,
};

#define ENDPOINT_BYTES_MAX 255

struct peer_status {
	uint64_t actor;
	char name[DEVICE_NAME_BYTES_MAX + 1];
	char label[DEVICE_LABEL_BYTES];
	enum peer_state state;
	enum peer_path path; /**< PATH_NONE while it is not connected */
	bool in_folder;	     /**< it writes into a folder relay that is open here */
	char endpoint[ENDPOINT_BYTES_MAX + 1]; /**< where it was dialled or came from; "" if never */
	int64_t rtt_us;			       /**< -1 unknown */
	int64_t clock_skew_ms;		       /**< peer minus us; 0 unknown */
	uint64_t last_seen_ms;		       /**< wall clock; 0 never */
	uint64_t up_bytes;		       /**< since start, on the wire */
	uint64_t down_bytes;
	uint64_t up_rate; /**< bytes a second over the last seconds; status_get() works them out */
	uint64_t down_rate;
	char last_error[128]; /**< why the last attempt failed; "" if it did not */
};

/** A relay, or another place that keeps changes and is no device. */
struct relay_status {
	char address[ENDPOINT_BYTES_MAX + 1]; /**< as it is shown: without the secret */
	enum peer_path path;		      /**< PATH_RELAY, PATH_FOLDER */
	enum peer_state state;
	bool used;	 /**< what is made here goes there first; the others are spares */
	bool in_doubt;	 /**< connected, but it owes an answer */
	int64_t rtt_us;	 /**< -1 unknown */
	char error[160]; /**< why it is not connected, or does not take what it is given; "" */
	char alarm[160]; /**< what it was caught at; "" */
};

struct status;

struct watch;

struct status *status_create(void);
/** Those who watch hear of connections that come and go. Before another thread uses s; NULL ends it. */
void status_set_watch(struct status *s, struct watch *w);
void status_destroy(struct status *s);
/** Applies edit to the entry of actor under the lock, creating it. */
void status_edit(struct status *s, uint64_t actor, void (*edit)(struct peer_status *p, void *ctx),
		 void *ctx);
/** false when there is no entry. */
bool status_get(struct status *s, uint64_t actor, struct peer_status *ret);
/** "A:P" this device listens on; "" when it does not. */
void status_set_listen(struct status *s, const char *endpoint);
void status_get_listen(struct status *s, char out[ENDPOINT_BYTES_MAX + 1]);
/** Replaces what is known of the relay of this address and path, or adds it. */
void status_set_relay(struct status *s, const struct relay_status *relay);
/** There are none of this path any more. */
void status_clear_relays(struct status *s, enum peer_path path);
/** Copies, in the order they were added; *ret is the caller's. */
size_t status_get_relays(struct status *s, struct relay_status **ret);
const char *peer_state_name(enum peer_state state);
/** "direct" and so on; "" for PATH_NONE. */
const char *peer_path_name(enum peer_path path);

#endif
