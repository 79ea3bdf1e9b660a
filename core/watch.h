/*
 * Who wants to hear what happens, and what happened: changes as they are committed, and what net learns about
 * peers and relays. For `blaze watch`.
 *
 * What is told goes into one queue of bounded size, from which each watcher reads at its own pace. Whoever
 * tells never waits: what a slow watcher did not take in time it is told the number of. While nobody
 * watches, nothing is kept and telling costs one load.
 *
 * Threads: any. The lock is a leaf, so that it may be taken with the database's lock held.
 */
#ifndef BLAZE_CORE_WATCH_H
#define BLAZE_CORE_WATCH_H

#include "core/change.h"
#include "core/status.h"

/** What the queue holds at most. */
#define WATCH_EVENTS_MAX 8192
#define WATCH_BYTES_MAX (4u << 20)

enum watch_kind {
	WATCH_CREATED, /**< changes: to what the mount shows */
	WATCH_CHANGED,
	WATCH_DELETED,
	WATCH_MOVED,
	WATCH_CONFLICT,	    /**< count = values of the record to review now; 0 = settled */
	WATCH_HELD,	    /**< a bulk deletion: count of all records of the collection `path` */
	WATCH_CONNECTED,    /**< peers: from here on */
	WATCH_DISCONNECTED, /**< text = why, "" = it said goodbye */
	WATCH_REROUTED,	    /**< it is reached over another path */
	WATCH_SYNCED,	    /**< both sides hold the same changes */
	WATCH_ADMITTED, /**< members, `actor`: by whom is in `by`, 0 = the account; count = the role, of core/db.h */
	WATCH_REMOVED,
	WATCH_ROLE,		/**< it has another one; `by` is 0 */
	WATCH_RELAY_OPEN,	/**< relays and folders: text = the address */
	WATCH_RELAY_AWAY,	/**< from = why, or NULL */
	WATCH_RELAY_DISTRUSTED, /**< from = what it was caught at */
};

/** Strings are never NULL where an event is read; "" = none. They belong to whoever holds the event. */
struct watch_event {
	uint64_t seq; /**< counts all events, from 1 */
	enum watch_kind kind;
	uint64_t time_ms; /**< of a change by its author's clock, else by this device's */
	uint64_t actor;	  /**< the device that made the change, the peer or member; 0 = none */
	uint64_t by;	  /**< ADMITTED, REMOVED: another device, or 0 */
	bool local;	  /**< it is this device */
	enum node_kind node;
	struct opid rev; /**< as `blaze log` has it; lamport 0 = none */
	uint64_t count;
	uint64_t all;
	enum peer_path via;
	char *path;
	char *from; /**< MOVED: the path before; CREATED: in another collection, or "" */
	char *text;
};

void watch_event_fini(struct watch_event *e);
/** Whether it is about a change, and not about a peer or a relay. */
bool watch_is_change(enum watch_kind kind);

/** Wall clock. */
uint64_t watch_now_ms(void);

/** Events to be told together. Zero-initialise. */
struct watch_batch {
	struct watch_event *events;
	size_t count;
	size_t bytes;
	uint64_t lost;	     /**< beyond what the queue could hold */
	uint64_t lost_since; /**< the earliest of their times */
};

/** Takes what *e owns. */
void watch_batch_add(struct watch_batch *b, struct watch_event *e);
/** Forgets what is in it. */
void watch_batch_clear(struct watch_batch *b);

struct watch;

struct watch *watch_create(void);
/** Nobody watches any more. NULL is allowed. */
void watch_destroy(struct watch *w);
/** Whether it is worth while to make an event. */
bool watch_is_on(const struct watch *w);
/** Tells a batch, in order, and empties it. */
void watch_tell(struct watch *w, struct watch_batch *b);

/** Tells one event of a relay or folder, of now. what: see enum watch_kind, or NULL. */
void watch_relay(struct watch *w, enum watch_kind kind, enum peer_path via, const char *address,
		 const char *what);

/** Belongs to one thread. */
struct watcher {
	struct watcher *next; /**< the rest is the watch's, under its lock */
	uint64_t at;	      /**< what it takes next */
	uint64_t lost;
	uint64_t lost_since;
};

/** Begins with what is told from now on. */
void watch_join(struct watch *w, struct watcher *r);
void watch_leave(struct watch *w, struct watcher *r);

/** What a watcher missed, before what it is given. */
struct watch_gap {
	uint64_t count;
	uint64_t since_ms; /**< the earliest time of what was lost, as in watch_event */
};

/**
 * Waits until there is something, or monotonic deadline_ms. Returns how many were put into ret, at most max; they are the
 * caller's. *ret_gap.count is 0 if nothing was lost.
 */
size_t watch_take(struct watch *w, struct watcher *r, struct watch_event *ret, size_t max,
		  struct watch_gap *ret_gap, uint64_t deadline_ms);

#endif
