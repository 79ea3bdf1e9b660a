/*
 * Chunks that are missing here: which, for which values of which nodes, and who was asked for them. Private to
 * core/db*.c, txn.c, tree.c; protected by the database's lock.
 *
 * A want is one manifest, a raw sibling of one node, that came from elsewhere and may lack chunks here. While the
 * winner of a node's siblings is wanted, the node shows what it showed before (txn_node.shown): its state without
 * what is wanted. Nothing is ever shown by halves, and a node that had nothing before does not appear.
 *
 * A want remembers the change it came with, and this device acknowledges no change with a want (P7): "acknowledged"
 * means the chunks are durable here too. A manifest that something newer has replaced is not wanted any more, and
 * its change is acknowledged.
 *
 * Store keys:
 *   Kw node16 lamport8 actor8   16 bytes stream, varint seq: a want
 *   Ks node16                   the state that is shown meanwhile, as under 's'
 *
 * A chunk found damaged (packs_damages()) is a want of its own, of no node, so that it is fetched again.
 *
 * In memory, a want's chunks are looked up step by step (wants_scan()), so that a manifest of thousands of chunks
 * stops nobody. What is not in the index of the packs is in one table of missing chunks, for all wants.
 */
#ifndef BLAZE_CORE_WANTS_H
#define BLAZE_CORE_WANTS_H

#include "core/db.h"
#include "core/manifest.h"
#include "core/packs.h"

struct want {
	struct id node;
	struct opid op;
	struct id stream;
	uint64_t seq; /**< of the change, in op.actor's feed */
	bool repair;  /**< of a damaged chunk, which is the only one in m */
	/** What has to be here: parts of the manifest, and chunks; NULL until it was looked at */
	struct manifest *m;
	bool partial;	/**< m is no more than the parts known to lack: to be looked at again */
	size_t scanned; /**< entries before are here or in the table */
	size_t first;	/**< entries before are here */
	size_t ask;	/**< entries before are here or were asked for */
	uint64_t serial;
};

struct missing;

struct wants {
	struct want *items;
	size_t count;
	uint64_t serial;
	size_t turn;		/**< whose turn it is to be asked for */
	struct missing **slots; /**< a power of two */
	size_t slot_count;
	size_t missing_count;
	uint64_t missing_bytes; /**< not arrived */
	uint64_t salt;
	uint64_t bad_count; /**< chunks received that were not what they said */
	size_t repair_count;
};

void wants_fini(struct wants *w);
/** Adds one; its manifest is looked at later. A copy of *like. */
void wants_add(struct wants *w, const struct want *like);
/** Fetches a damaged chunk again, if that is not wanted yet. */
void wants_add_repair(struct wants *w, const struct chunk_id *id, uint64_t length);
/** It is not wanted any more. */
void wants_drop_repair(struct wants *w, const struct chunk_id *id);
/** All parts it lacked are here: its manifest is to be looked at again. */
void wants_look_again(struct wants *w, struct want *want);
/** NULL if there is none. */
struct want *wants_find(const struct wants *w, const struct id *node, struct opid op);
void wants_remove(struct wants *w, const struct id *node, struct opid op);
/** The last seq of the feed up to which nothing is wanted, at most seq. */
uint64_t wants_limit(const struct wants *w, const struct id *stream, uint64_t actor, uint64_t seq);

/** Whether all chunks of a manifest are here for good; false when that takes too long to find out. */
bool wants_have_all(struct packs *p, const struct manifest_store *parts, struct slice manifest);
/** What is wanted of a manifest: its parts and its chunks. */
struct manifest *wants_list(struct manifest *m);
/** Looks up at most `max` entries of wants whose manifest is known. true: there are more to look up. */
bool wants_scan(struct wants *w, struct packs *p, size_t max);
/** The first want all of whose chunks are here, or NULL. */
struct want *wants_complete(struct wants *w);

/** What a peer may be asked for, and what a connection knows of it. */
struct wants_asking {
	uint64_t peer;
	const uint64_t *lacked; /**< serials of wants that this peer has nothing more for at the moment */
	size_t lacked_count;
	size_t count_max;
	uint64_t bytes_max; /**< exceeded by at most one chunk */
};

/** Chunks to ask the peer for, a few for each want in turn; they count as asked. Returns the count. */
size_t wants_ask(struct wants *w, const struct wants_asking *a, struct chunk_id *ret);
/** It was asked of the peer in vain: others may be asked. Returns the serial of its want, 0 = it is not wanted. */
uint64_t wants_lacked(struct wants *w, uint64_t peer, const struct chunk_id *id);
/** The peer is gone: nothing is asked of it any more. */
void wants_unask(struct wants *w, uint64_t peer);
/** Whether the chunk is missing and has not arrived; then *ret_length may be NULL or gets its length. */
bool wants_is_missing(const struct wants *w, const struct chunk_id *id, uint64_t *ret_length);
/** It is in a pack, and not in the index yet. */
void wants_arrived(struct wants *w, const struct chunk_id *id);
/** It is in the index. */
void wants_settled(struct wants *w, const struct chunk_id *id);

#endif
