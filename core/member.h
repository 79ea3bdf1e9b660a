/*
 * EVALUATE: what the operations of the stream `auth` make of the devices (section 2 of net/PROTOCOL.md). A pure function of
 * the set of operations: whatever order they came in, who holds the same ones gets the same answer.
 *
 * Devices are in order of seniority: the founder, then by the operation that named them first, made by somebody named before.
 * What the account itself has signed counts as made by somebody more senior than all, in whoever's feed it stands.
 *
 *   1. From the most senior down: whether a device could remove others, or take rights from them, follows from what more senior
 *      ones say of it. So of two that remove each other, the senior one stays, and nobody is held up by its own creatures.
 *   2. All else, in the order of the operations: it counts if its author was a member by what came before, had the right, and is
 *      not cut off by a removal of step 1, whenever that was.
 *
 * WITNESS, CUT, ADOPT and the rest: net/PROTOCOL.md.
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
	int8_t genuine; /**< ACCOUNT: 1 signed by it, -1 not, 0 not looked at yet */
};

/** An envelope beyond the cut that counts after all. */
struct adopted {
	struct id stream;
	uint64_t first; /**< change */
	uint64_t last;
	uint8_t hash[DIGEST_BYTES];
};

struct member {
	struct device device;
	struct buf cert;
	enum member_role role;
	bool admitted; /**< somebody who may has admitted it */
	bool removed;
	struct opid first;    /**< that named it first; {0} = the founder */
	struct opid since;    /**< effective one that admitted it: the first since it was removed last */
	struct opid removal;  /**< last effective one that removed it */
	uint64_t admitted_by; /**< 0 = nobody: the founder */
	struct id epoch;      /**< newest that its welcome gave it */
	struct feed_pos *cuts; /**< if removed: of its feeds, no more than this; sorted. What is missing has no more than 0 */
	size_t cut_count;
	bool was_cut;		 /**< it was removed once, or given another role */
	struct adopted *adopted; /**< sorted by (stream, first); none overlaps another */
	size_t adopted_count;
};

struct evaluation {
	struct id db;
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
/** The account's public key: the founder's first word. -ENOENT. */
int member_account(const struct evaluation *e, uint8_t ret_pk[KEYS_PK_BYTES]);
/** The one that holds this change, or NULL. */
const struct adopted *member_adopted(const struct member *m, const struct id *stream, uint64_t seq);
void member_list_fini(struct member *members, size_t count);

#endif
