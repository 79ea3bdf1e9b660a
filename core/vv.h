/* Lists of how far somebody has feeds, as messages of core/sync.h hold them. Not thread-safe. */
#ifndef BLAZE_CORE_VV_H
#define BLAZE_CORE_VV_H

#include "core/db.h"

/** Zero-initialise. */
struct vv {
	struct feed_pos *pos; /**< sorted by (stream, actor) */
	size_t count;
};

/** Entries that are read. */
#define VV_ENTRIES_MAX 1000000

void vv_fini(struct vv *vv);
/** The entry of the feed, or NULL. */
struct feed_pos *vv_find(const struct vv *vv, const struct feed_pos *p);
/** Whether the feed is there as far as that. */
bool vv_holds(const struct vv *vv, const struct feed_pos *p);
void vv_raise(struct vv *vv, const struct feed_pos *p);
/** varint count, then per feed 16 bytes stream, 8 bytes actor, varint seq. */
void vv_write(struct buf *out, const struct feed_pos *pos, size_t count);
/** All that is left. Fills ret, which is empty, also when it fails. -EBADMSG. */
int vv_read(struct reader *r, struct vv *ret);
/** Nothing is left: sorts what was read. -EBADMSG. */
int vv_finish(struct reader *r, struct vv *ret);

#endif
