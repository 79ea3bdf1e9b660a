/* Compression: zstd, and nothing else, lives here. No state, any thread. */
#ifndef BLAZE_CORE_ZIP_H
#define BLAZE_CORE_ZIP_H

#include "core/bytes.h"

/** Appends varint length of `plain`, then one zstd frame. `level` as zstd's. */
void zip_pack(struct slice plain, int level, struct buf *out);
/** The inverse of all of `packed`; *ret is cleared first. -EBADMSG, also when it would exceed max bytes. */
int zip_unpack(struct slice packed, size_t max, struct buf *ret);

#endif
