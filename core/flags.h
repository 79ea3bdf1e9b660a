/*
 * What members were caught at: a feed that does not go on where it stood, a clock that is far ahead, changes after a removal.
 * Nothing of it is applied, or followed; here it is kept until the database is closed, so that it can be said once, and shown.
 */
#ifndef BLAZE_CORE_FLAGS_H
#define BLAZE_CORE_FLAGS_H

#include "core/db.h"

enum flag_kind {
	/** Its feed, as it came, is not signed by it, or does not follow on what is here: forged, damaged, or told differently. */
	FLAG_FEED = 1,
	/** Its changes are dated ahead of this device's clock by more than a minute. */
	FLAG_CLOCK,
	/** It goes on writing although it was removed, or may only read. */
	FLAG_CUT,
};

/** Different ones that are kept. */
#define FLAGS_MAX 256

struct flag {
	uint64_t actor;
	enum flag_kind kind;
};

/** Under the database's lock. Once for each member and kind. */
void flags_raise(struct db *db, uint64_t actor, enum flag_kind kind);
/** How many there are: any thread, no lock. */
size_t db_flag_count(const struct db *db);
/** All, in the order they were raised. Returns the count; *ret is the caller's. */
size_t db_flags(struct db *db, struct flag **ret);
/** For people: "its feed does not go on where it stood". */
const char *flags_text(enum flag_kind kind);
/** For programs: "feed", "clock", "cut". */
const char *flags_name(enum flag_kind kind);

#endif
