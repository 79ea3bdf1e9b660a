/*
 * "Is it synced?": one true sentence, and the facts behind it, for people and for programs. The same
 * text for `blaze status`, `.blaze/status` and later the dashboard.
 */
#ifndef BLAZE_CORE_REPORT_H
#define BLAZE_CORE_REPORT_H

#include "core/db.h"
#include "core/status.h"

struct report_source {
	struct db *db;
	struct status *status;	/**< NULL: nothing is running, every peer is offline */
	uint64_t held_count;	/**< vfs_held_count(): changes not yet made */
	const char *mountpoint; /**< "" = not mounted */
	/** Calls fn with the path of each file that is too large to travel; NULL: nobody knows of any. */
	void (*too_large)(void *files, void (*fn)(void *ctx, const char *path), void *ctx);
	void *files;
};

/** One word: "synced", "syncing" (connected, changes under way), "offline" (changes wait for a peer), "error". */
const char *report_state(const struct report_source *src);
/** "work  synced — all 12 changes are on 1 other device", without the table. No newline. */
void report_verdict(const struct report_source *src, struct buf *out);
/** Verdict, problems, the table of peers, and the next command to type. */
void report_text(const struct report_source *src, struct buf *out);
/** One JSON object on one line: {"v":1,"database":…,"state":…,"verdict":…,"peers":[…],"problems":[…]}. */
void report_json(const struct report_source *src, struct buf *out);
/** Exit code 3 (attention) if there are problems, conflicts or unsent changes, else 0. */
int report_attention(const struct report_source *src);

#endif
