/*
 * ADOPT (section 2 of net/PROTOCOL.md): what a removed device made and nobody had taken, shown to a person, who decides. Nothing
 * of it is here before that (core/quarantine.h). What is adopted is named envelope by envelope, so every member applies the same
 * changes, in whatever order it hears of what.
 */
#ifndef BLAZE_CORE_ADOPT_H
#define BLAZE_CORE_ADOPT_H

#include "core/db.h"

/** What is kept of a device. */
struct adoptable {
	struct device device;
	uint64_t change_count;
	uint64_t byte_count; /**< sealed */
};

/** What some changes are about: one record, or directory. */
struct adopt_node {
	char *path; /**< where it is here; of what is new, where it would be */
	bool is_dir;
	bool created; /**< it is not here yet */
	bool deleted;
	bool moved; /**< and path is where to */
	bool large; /**< its content is not in the changes: it comes from where it was made, or from who has it */
	uint64_t change_count;
	uint64_t byte_count; /**< of the values written, large ones whole */
	uint64_t first_ms;   /**< by the device's own clock, which may say anything */
	uint64_t last_ms;
};

/** All of it, and what names it. Zero-initialise. */
struct adopt_work {
	struct device device;
	struct adopt_node *nodes; /**< by path */
	size_t node_count;
	uint64_t change_count;
	uint64_t byte_count; /**< sealed */
	uint64_t first_ms;
	uint64_t last_ms;
	struct adopt_feed *feeds; /**< private to adopt.c */
	size_t feed_count;
};

/** Devices of which something is kept. Returns the count; *ret is the caller's. */
size_t adopt_list(struct db *db, struct adoptable **ret);
/** How many. */
size_t adopt_count(struct db *db);
/** For `blaze status`: a line for each device, and `"adoptable":[…],`. */
void adopt_report(struct db *db, struct buf *out);
void adopt_report_json(struct db *db, struct buf *out);
/** Reads what is kept of a device. 0, also when that is nothing; -EIO. */
int adopt_look(struct db *db, uint64_t actor, struct adopt_work *ret);
void adopt_work_fini(struct adopt_work *w);
/**
 * Adopts what was looked at, and nothing that came since: 0, and *ret_waiting changes of it wait for others that they build on.
 * -EPERM this device may not, -ESTALE what is kept is not that any more, -EIO, -ENOSPC.
 */
int adopt_accept(struct db *db, const struct adopt_work *w, uint64_t *ret_waiting, struct why *why);
/** Gives up what is kept of the device, on this one, and takes no more of it. -EIO, -ENOSPC. */
int adopt_refuse(struct db *db, uint64_t actor, struct why *why);

#endif
