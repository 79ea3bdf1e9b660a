/*
 * The files of .blaze/conflicts/: what lost against the values shown, under names that say whose it is.
 *
 *   DIR/NAME@DEVICE  a whole value that lost, byte for byte; a second one by a device of this name has .2
 *                at its end, and so on
 *   DIR/NAME@fields  the fields of a JSON record that lost, one a line, two spaces apart: field, value as
 *                written (line breaks between its tokens become spaces), device, time:
 *                    priority  3  desk  2026-11-22T14:01:58Z
 *                The root itself is the field ".".
 *   DIR/NAME@lines   lines of a text that two devices changed: "line 3" or "line 3-5", device, time, and,
 *                indented below, what they were on that device
 *
 * DIR/NAME is the record's path: directories are as in the mount, those with something in conflict below them. In DEVICE,
 * @ is escaped (%40): the last @ of a name is the one that separates. Where a name would be too long, %~, the record's id
 * and ~ stand for its beginning. A file whose name is that of a directory has .2 at its end, too. So no two share a name.
 *
 * The list is made when it is asked for, and again when it is older than SPECIAL_KEEP_MS and there was a
 * commit since. It holds no whole values: reading asks the database. A number stands for the same file as
 * long as this lives, and is never that of another one. Any thread may call.
 */
#ifndef BLAZE_FS_SPECIAL_CONFLICTS_H
#define BLAZE_FS_SPECIAL_CONFLICTS_H

#include "core/db_chunks.h"
#include "core/name.h"

struct special_conflicts;

#define SPECIAL_CONFLICT_BITS 55

struct special_conflict {
	uint64_t number; /**< below 1 << SPECIAL_CONFLICT_BITS */
	uint64_t size;
	uint64_t time_ms; /**< when the value was saved; the latest, of fields, and of what is in a directory */
	bool is_dir;
	char name[NAME_BYTES_MAX + 1];
};

/** db must outlive it. */
struct special_conflicts *special_conflicts_create(struct db *db);
/** NULL is allowed. */
void special_conflicts_destroy(struct special_conflicts *c);

/** The number of conflicts/ itself. */
#define SPECIAL_CONFLICTS_TOP 0

/** What is in a directory, sorted by name. Returns the count; *ret is the caller's to free. */
size_t special_conflicts_list(struct special_conflicts *c, uint64_t dir,
			      struct special_conflict **ret);
/** -ENOENT. */
int special_conflicts_find(struct special_conflicts *c, uint64_t dir, const char *name,
			   struct special_conflict *ret);
/** -ENOENT. */
int special_conflicts_get(struct special_conflicts *c, uint64_t number,
			  struct special_conflict *ret);
/** Appends the content, or else gives its manifest. -ENOENT, also when the conflict has just ended. */
int special_conflicts_read(struct special_conflicts *c, uint64_t number, struct buf *out,
			   struct manifest **ret_chunks);

/** The value, or the fields, were reviewed: what is shown is kept. -ENOENT, -EISDIR. */
int special_conflicts_drop(struct special_conflicts *c, uint64_t in, const char *name);
struct special_conflict_place {
	uint64_t in; /**< a directory's number */
	const char *name;
};
/** rename(2) to (dir, new_name): the value is used, if that is its record. -EXDEV if not, or if it is fields. */
int special_conflicts_use(struct special_conflicts *c, const struct special_conflict_place *from,
			  const struct id *dir, const char *new_name);

/** "2026-11-22T14:01:58Z" */
void special_conflicts_put_time(uint64_t ms, struct buf *out);

#endif
