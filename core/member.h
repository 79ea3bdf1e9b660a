/*
 * EVALUATE: what the operations of the stream `auth` make of the devices (section 2 of net/PROTOCOL.md). A pure function of
 * the set of operations: whatever order they came in, who holds the same ones gets the same answer.
 *
 * Devices are in order of seniority: the founder, then by the operation that admitted them first. Whether a removal counts is
 * decided by those of more senior devices only; so of two that remove each other, the senior one stays. All other operations
 * count if their author was a member, had the right, and was not cut off before. WITNESS, CUT and the rest: net/PROTOCOL.md.
 */
#ifndef BLAZE_CORE_MEMBER_H
#define BLAZE_CORE_MEMBER_H

#include "core/auth.h"
#include "core/db.h"

#define MEMBERS_MAX 1024

/** An operation as it was made. */
struct auth_entry {
	struct opid id;
	uint64_t seq; /**< of the change in its author's feed */
	struct buf value;
	bool effective; /**< worked out */
};

struct member {
	struct device device;
	struct buf cert;
	enum member_role role;
	bool admitted; /**< somebody who may has admitted it */
	bool removed;
	struct opid first;    /**< that named it first; {0} = the founder */
	struct opid since;    /**< last effective one that admitted it */
	struct opid removal;  /**< last effective one that removed it */
	uint64_t admitted_by; /**< 0 = nobody: the founder */
	struct id epoch;      /**< newest that its welcome gave it */
	struct feed_pos *cuts; /**< if removed: of its feeds, no more than this; sorted. What is missing has no more than 0 */
	size_t cut_count;
};

struct evaluation {
	struct id auth_stream;
	struct slice founder; /**< certificate */
	struct slice own; /**< certificate of this device: a member to itself until the operation comes */
	struct auth_entry *entries; /**< sorted by id */
	size_t entry_count;
	struct member *members; /**< result */
	size_t member_count;
};

/** Fills members, and effective in the entries. */
void member_evaluate(struct evaluation *e);
void member_list_fini(struct member *members, size_t count);

#endif
