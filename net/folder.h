/*
 * A relay that is only a directory: iCloud Drive, Dropbox, NFS, a bucket that rclone mounted. FOLDER in net/PROTOCOL.md.
 *
 *   PATH/blaze1/<mailbox>/w/<writer>/<yyyymm>/<number>-<count>-<digest>.blz     segments (net/segment.h)
 *                                   /ack-<number>.blz                           what the writer holds; the last two stay
 *                                   /.~<number>.tmp                             not there yet
 *
 * All ids in hex. A number is the writer's wall clock in ms, and above all it gave before. Each device writes in its own
 * directory only; what it wrote it never changes, and takes away only what it has written again in a larger file. Every .blz
 * below PATH/blaze1*, whatever it and its directories are called, is read: what a file is, its content says. What is short,
 * foreign, damaged or forged is nothing, and looked at again later.
 *
 * What is there counts as held only as long as it is there: what is missing for a moment is put again by its maker, or, when that
 * does not, by another.
 *
 * Threads: a folder may hang for ever in any system call (a server that is gone), so it has a thread of its own, which alone
 * touches the directory. Nobody waits for that thread while it is in such a call: see folder_join(). It is in the database
 * only between calls.
 */
#ifndef BLAZE_NET_FOLDER_H
#define BLAZE_NET_FOLDER_H

#include "core/db.h"
#include "core/status.h"

#define FOLDER_PATH_BYTES_MAX 2048
/** A segment is written so long after a change, at most one in a pause, unless it is full. Acks likewise. */
#define FOLDER_GATHER_MS 200
/** BLAZE_FOLDER_PAUSE_MS in the environment is for tests. */
#define FOLDER_PAUSE_MS 2000
/** How many pauses a file has to be missing before it counts as gone: providers move things about. */
#define FOLDER_MISSING_PAUSES 2
/** How many what another device made is left to that device, if that writes here. */
#define FOLDER_MAKER_PAUSES 30
/** How many a file stays that is in a larger one as well: somebody may be reading it. */
#define FOLDER_SPARE_PAUSES 5
/** The same for what is in a stratum; and how often it is looked for strata. A cloud may carry what goes faster than what comes. */
#define FOLDER_FOLDED_PAUSES 150
#define FOLDER_SEGMENT_BYTES (1u << 20)
/** How long a call may take before people are told that the folder hangs. */
#define FOLDER_HANGS_MS 5000
/** How often the directory is listed, where nobody tells of changes: from the one to the other while nothing comes. */
#define FOLDER_LOOK_MS_MIN 1000
#define FOLDER_LOOK_MS_MAX 60000

/** For people and tests. */
struct folder_info {
	char path[FOLDER_PATH_BYTES_MAX];
	bool open;		/**< it is there, and was listed */
	bool idle;		/**< all is there that is here, and here that is there */
	uint64_t generation;	/**< of the database, for which `idle` is said */
	uint64_t waiting_bytes; /**< to be written */
	uint64_t file_count;	/**< good ones */
	uint64_t bytes;
	uint64_t odd_count; /**< files that are damaged, not whole yet, or not ours */
	uint64_t lost_count; /**< files that went missing, or bad, and whose content was put again, since start */
	uint64_t written_ms; /**< wall clock of the last file; 0 = none */
	uint64_t up_bytes;
	uint64_t down_bytes;
	char error[200]; /**< why it is not open, or cannot be written to; "" */
};

struct folder_options {
	struct db *db;
	const struct keys *keys;
	struct status *status;
	const char *path;
	bool fresh; /**< what is not there is to be made; else a PATH without it is a disk that is not mounted */
	/** All is there by now: it is not fresh any more. Thread of the folder. */
	void (*made)(void *ctx, const char *path);
	void *ctx;
};

struct folder;

/** Starts its thread. */
struct folder *folder_start(const struct folder_options *o);
/** Has it look and tell anew. */
void folder_wake(struct folder *f);
/** What waits is written still, if that goes quickly. Returns at once. */
void folder_stop(struct folder *f);
/**
 * Waits for the thread to end, and frees all; or, when it is in a system call at monotonic deadline_ms, leaves it behind: it
 * ends when that call returns, touching nothing of the database or the caller.
 */
void folder_join(struct folder *f, uint64_t deadline_ms);
/** Any thread, never waits. */
void folder_info(struct folder *f, struct folder_info *ret);
/** "" or why this cannot be a folder; path is made absolute. For commands; may hang. Caller frees *ret. */
int folder_resolve(const char *path, char **ret, struct why *why);

#endif
