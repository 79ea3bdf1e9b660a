/* Private to net/folder*.c: one folder. All but what `lock` protects belongs to the folder's thread. */
#ifndef BLAZE_NET_FOLDER_I_H
#define BLAZE_NET_FOLDER_I_H

#include "core/mailbox.h"
#include "core/thread.h"
#include "net/folder.h"
#include "net/segment.h"

#include <stdatomic.h>

/* ---- what the folder holds: folder_index.c, sans I/O --------------------------------------------- */

struct folder_item {
	struct segment_item i;
	bool done; /* taken, or here anyway */
	bool bad;  /* damaged or forged */
};

struct folder_file {
	char *path; /* below the folder */
	uint64_t size;
	int64_t mtime_ns;
	bool good;	     /* a head that fits the file; else it is odd */
	bool foreign;	     /* of another mailbox, or forged: no use to look again soon */
	bool known;	     /* its writer is, and has signed it */
	bool own;	     /* this device wrote it */
	bool whole;	     /* all of it was compared with its digest */
	bool seen;	     /* by this scan */
	uint64_t missing_ms; /* since when it is not there; 0 = it is */
	uint64_t retry_ms;   /* an odd one: when to look again */
	uint32_t tries;
	uint64_t spare_ms; /* own: since when all of it is in another one as well; 0 = it is not */
	struct id writer;
	uint64_t number;
	uint8_t text[DIGEST_BYTES];
	uint8_t signature[KEYS_SIGNATURE_BYTES];
	struct folder_item *items;
	size_t count;
};

/* An item and the file it is in. */
struct folder_place {
	struct folder_file *file;
	struct folder_item *item;
};

struct folder_index {
	struct folder_file **files; /* sorted by path */
	size_t count;
	uint64_t version;	     /* counts what may change an answer */
	struct folder_place *places; /* all usable items, by tag, first, and the longest first */
	size_t place_count;
	uint64_t places_version;
};

struct folder_file *folder_index_find(const struct folder_index *x, const char *path);
/** A new one, which is odd. */
struct folder_file *folder_index_add(struct folder_index *x, const char *path);
void folder_index_remove(struct folder_index *x, struct folder_file *file);
/** Takes what the head says; the items of s are freed. */
void folder_index_set(struct folder_index *x, struct folder_file *file, struct segment *s);
void folder_index_spoil(struct folder_index *x, struct folder_file *file);
void folder_index_fini(struct folder_index *x);
/** What the folder holds, and `waiting` is about to. Returns the count; *ret is the caller's. */
size_t folder_index_have(struct folder_index *x, const struct segment_item *waiting, size_t count,
			 struct mailbox_range **ret);
/** A chunk that can be read, the next after `after` (NULL: the first); file NULL = none. */
struct folder_place folder_index_chunk(struct folder_index *x, const struct id *tag,
				       const struct folder_item *after);
/** How many different ones there are. */
uint64_t folder_index_chunk_count(struct folder_index *x);
/** Files by number, as they were written. Caller frees. */
struct folder_file **folder_index_in_order(const struct folder_index *x);
enum folder_spare {
	FOLDER_NEEDED,
	FOLDER_COPIED, /* every item is in a newer file, as it is */
	FOLDER_FOLDED, /* or in a stratum */
};

/** Whether each item of an own file is in newer own files as well, which are whole. */
enum folder_spare folder_index_spare(struct folder_index *x, const struct folder_file *file);
/** Whether an item of an own file is in a stratum of a newer own file. */
bool folder_index_is_folded(struct folder_index *x, const struct folder_file *file,
			    const struct folder_item *item);
/**
 * How many envelopes of own files a stratum of this feed would take the place of; it ends with `last`, what is up to `after` is in
 * the one before. 0 if it is there.
 */
size_t folder_index_count_foldable(struct folder_index *x, const struct id *tag, uint64_t after,
				   uint64_t last);

/* ---- the folder ---------------------------------------------------------------------------------- */

#define FOLDER_WRITERS_MAX 4096

struct folder_writer {
	struct id tag;
	struct device device;
	bool writes;	   /* there is a file of its */
	uint64_t heard_ms; /* wall clock of its newest file */
	uint64_t left_ms;  /* monotonic: since when something is left to it; 0 = nothing */
};

struct folder {
	struct folder_options o;
	char *path;
	struct mailbox *mailbox;
	struct id self;
	char base[64]; /* "blaze1/<mailbox>" */
	char own[128]; /* "blaze1/<mailbox>/w/<writer>" */

	struct mutex lock;
	struct cond changed_cond;
	struct folder_info info; /* protected by lock, as all to the blank line */
	uint64_t call_ms;	 /* since when it is in a system call; 0 = it is not */
	bool ended;
	bool left; /* nobody waits any more */

	_Atomic bool stopping;
	_Atomic bool changed; /* the database did */
	int wake[2];
	struct db_observer observer;
	struct thread thread;

	uint64_t pause_ms;
	int watch; /* -1 = nobody tells of changes */
	bool fresh;
	bool open;
	bool writable;
	bool scanned; /* since it was opened */
	char error[200];
	char write_error[200];
	struct folder_index index;
	struct folder_writer *writers;
	size_t writer_count;
	uint64_t writers_generation;

	uint64_t open_ms; /* when to try again, monotonic as all */
	uint64_t scanned_ms;
	uint64_t there_ms; /* when to ask next whether it is there at all */
	uint64_t news_ms;  /* when something came last */
	uint64_t seen_generation;
	uint64_t taken_version; /* of the index, and the generation, when all was taken that could be */
	uint64_t taken_generation;
	bool unsynced; /* taken since the last db_sync() */
	uint64_t chunk_version;

	/* Missing chunks. */
	struct mailbox *checker; /* NULL = none is looked for */
	bool check_own;		 /* look for those that this device put */
	uint64_t check_all_ms;	 /* when to look for all; 0 = need not be */
	uint64_t chunks_known;	 /* so many there were */

	/* To be written. */
	struct buf *items;
	struct segment_item *heads;
	size_t item_count;
	size_t item_bytes;
	struct buf ack;
	struct buf ack_written; /* the last one */
	bool busy;		/* mailbox_next() may have something */
	uint64_t looked;
	uint64_t put_ms;
	uint64_t put_last_ms;
	uint64_t ack_ms;
	uint64_t ack_last_ms;
	uint64_t retry_ms; /* a write failed: not before */
	uint32_t write_tries;
	uint64_t number;
	uint64_t scrubbed; /* number of the last own file that was read again */
	uint64_t fold_ms;  /* when to look next for strata to be written */
	uint64_t fold_generation;
	uint64_t fold_version;
	uint64_t hollow_version; /* of the index, when there was no hollow file */
	unsigned fold_slower;
	uint64_t forged_count;
	uint64_t lost_count;
	uint64_t written_ms;
	uint64_t up_bytes;
	uint64_t down_bytes;
};

/* ---- system calls: folder_io.c. Each is negative errno, and may not return. ---------------------- */

struct folder_entry {
	char *name;
	bool is_dir;
	uint64_t size;
	int64_t mtime_ns;
};

/** Directories and regular files; the caller frees with folder_io_free(). */
int folder_io_list(struct folder *f, const char *dir, struct folder_entry **ret, size_t *ret_count);
void folder_io_free(struct folder_entry *entries, size_t count);
/** Up to len bytes from there; ret is cleared first. */
int folder_io_read(struct folder *f, const char *path, uint64_t offset, size_t len, struct buf *ret);
/** Beside, durably, and into place. */
int folder_io_write(struct folder *f, const char *dir, const char *name, struct slice content);
int folder_io_unlink(struct folder *f, const char *path);
/** The directory and what is missing above it, within the folder. */
int folder_io_mkdir(struct folder *f, const char *dir);
/** -ENOENT, -ENOTDIR. */
int folder_io_is_dir(struct folder *f, const char *dir);
/** Has the kernel tell of changes in it, where it can. */
void folder_io_watch(struct folder *f, const char *dir);
bool folder_io_is_remote(struct folder *f);

/* folder_scan.c */
/** Lists all, looks into what is new, forgets what is gone. < 0: the folder is not there. */
int folder_scan(struct folder *f, uint64_t now_ms);
/** Takes what is new here. < 0: this device cannot store it. */
int folder_take(struct folder *f);
struct folder_writer *folder_writer(struct folder *f, const struct id *tag);
void folder_read_writers(struct folder *f);

/* folder_put.c */
/** Writes what is due. */
void folder_put(struct folder *f, uint64_t now_ms, bool now);
/** When folder_put() is to be called; UINT64_MAX = never. */
uint64_t folder_put_due(const struct folder *f);
/** mailbox_holds() of what is there. */
void folder_tell_mailbox(struct folder *f);
uint64_t folder_next_number(struct folder *f);
/** A segment of these items. */
int folder_write_segment(struct folder *f, const struct slice *items, size_t count);
void folder_note_write(struct folder *f, int r);

void folder_keep(struct folder *f, struct buf *item);
/** Which of these chunks are not there? */
void folder_answer(struct folder *f, struct mailbox *m, struct slice tags);

/* folder_check.c */
void folder_check_load(struct folder *f);
/** It is open, and was listed. */
void folder_check_opened(struct folder *f);
/** Chunks went missing; own: of this device's files. */
void folder_check_later(struct folder *f, bool own);
bool folder_check_is_due(const struct folder *f, uint64_t now_ms);
/** Gathers chunks to be written, as mailbox_next(): 0 = that was all. */
int folder_check(struct folder *f);
/** All is written. */
void folder_check_done(struct folder *f);
bool folder_check_loses(struct folder *f, struct folder_file *file);

/* folder_compact.c */
/** Puts small files together, takes away what is in larger ones. */
void folder_compact(struct folder *f, uint64_t now_ms);

/* folder_fold.c */
/** Writes strata in the place of old envelopes. */
void folder_fold(struct folder *f, uint64_t now_ms);

/* folder.c */
/** Around each system call on the folder. */
void folder_call_begin(struct folder *f);
/** Does not return if nobody waits any more. */
void folder_call_end(struct folder *f);

#endif
