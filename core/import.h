/*
 * Imports: streaming the content of a file into chunks. Without the database's lock, one thread each; memory is a few
 * chunks. What comes out is a manifest all of whose chunks are here for good, for db_put_chunks().
 */
#ifndef BLAZE_CORE_IMPORT_H
#define BLAZE_CORE_IMPORT_H

#include "core/db_chunks.h"

struct import;

/**
 * Of a file of about this size. `like` is the manifest of an earlier version, or NULL: import_keep() may then take
 * over parts of it without reading them.
 */
struct import *import_create(struct db *db, uint64_t size, const struct manifest *like);
/** Where the next piece begins. */
uint64_t import_offset(const struct import *i);
/** Where the next chunk begins. */
uint64_t import_boundary(const struct import *i);
/** The next bytes. -ENOSPC, -EIO. */
int import_data(struct import *i, struct slice bytes);
int import_hole(struct import *i, uint64_t length);
/**
 * The caller knows that the bytes from import_boundary() up to `end` are those of `like`: takes over the chunks that
 * lie in them, if one begins at the boundary. Returns how many bytes that were, maybe 0. import_offset() is the
 * boundary then: it may go back.
 */
uint64_t import_keep(struct import *i, uint64_t end);
/** All was said: makes it durable, and appends the manifest. */
int import_finish(struct import *i, struct buf *ret_manifest);
void import_destroy(struct import *i);

#endif
