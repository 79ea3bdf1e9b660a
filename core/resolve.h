/*
 * Settling conflicts: values that lost (db_losers) are reviewed. Each call makes one change, which can be undone.
 * Not within a transaction. All return 1 = settled, 0 = there was nothing, or a negative errno.
 */
#ifndef BLAZE_CORE_RESOLVE_H
#define BLAZE_CORE_RESOLVE_H

#include "core/db.h"

/** What is shown stays; all that lost against it goes. */
int resolve_keep(struct db *db, const struct id *node);
/** One that lost goes. */
int resolve_drop(struct db *db, const struct id *node, const struct doc_which *loser);
/** One that lost is shown, and what it lost against goes. */
int resolve_use(struct db *db, const struct id *node, const struct doc_which *loser);

#endif
