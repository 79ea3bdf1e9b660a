/* See core/flags.h. */
#include "core/flags.h"

#include "core/db_i.h"

#include <stdatomic.h>

void flags_raise(struct db *db, uint64_t actor, enum flag_kind kind)
{
	size_t count = atomic_load(&db->flag_count);

	for (size_t i = 0; i < count; i++) {
		if (db->flags[i].actor == actor && db->flags[i].kind == kind)
			return;
	}
	if (count >= FLAGS_MAX)
		return;
	db->flags = xreallocarray(db->flags, count + 1, sizeof(*db->flags));
	db->flags[count] = (struct flag){actor, kind};
	atomic_store(&db->flag_count, count + 1);
}

size_t db_flag_count(const struct db *db)
{
	return atomic_load(&db->flag_count);
}

size_t db_flags(struct db *db, struct flag **ret)
{
	db_lock(db);
	size_t n = atomic_load(&db->flag_count);

	*ret = xmemdup(db->flags, n * sizeof(*db->flags));
	mutex_unlock(&db->lock);
	return n;
}

const char *flags_text(enum flag_kind kind)
{
	switch (kind) {
	case FLAG_FEED:
		return "what came as its changes does not go on where they stood: forged, damaged, or it tells "
		       "different things to different devices";
	case FLAG_CLOCK:
		return "its clock is ahead of this one's: set the time there, or here";
	case FLAG_CUT:
		return "it writes although it was removed, or may only read";
	}
	return "";
}

const char *flags_name(enum flag_kind kind)
{
	switch (kind) {
	case FLAG_FEED:
		return "feed";
	case FLAG_CLOCK:
		return "clock";
	case FLAG_CUT:
		return "cut";
	}
	return "";
}
