/*
 * The simulator: several databases in one process, a program of edits, partitions, restarts and power cuts made
 * from one seed, and what must hold during it and after everybody has talked to everybody.
 *
 * A history is one program run from an empty family of two to four devices to the last check. What
 * is checked, and where:
 *   - a save reads back as written; a save of what was read is no change            edit.c
 *   - a save takes away only what its program had read; a move takes away nothing   edit.c
 *   - afterwards all devices show the same names, bytes and losers, and hold the same
 *     document states and renderings                                                check.c
 *   - what is rendered is what a fresh rendering of the state gives                 check.c
 *   - every token is shown, or among the losers, or was taken away by someone who had seen it   check.c
 *   - a device that gets the same envelopes late, shuffled and twice ends the same  check.c
 *   - everybody knows to be in sync                                                 side.c, check.c
 */
#ifndef BLAZE_TESTS_SIM_SIM_H
#define BLAZE_TESTS_SIM_SIM_H

#include "core/db.h"
#include "tests/sim/mutate.h"

#define DEVICES_MAX 4
#define HANDLES_MAX 4
#define STEPS_MAX 64
/** Families of devices with other keys, so that other devices win. */
#define VARIANTS 4

/** What a program has read and may save later. */
struct handle {
	struct doc *doc; /**< NULL: unused */
	struct id node;
	struct id parent;
	char *name;
	struct buf bytes;
	struct tokens seen;
};

struct side {
	char dir[256];
	struct keys *keys;
	struct db *db;
	struct sim *sim;
	int64_t skew_ms;
	uint64_t stratum_changes;
	struct tokens unsynced; /**< written here since all was durable, at the latest */
	struct handle handles[HANDLES_MAX];
};

struct sim {
	struct side devices[DEVICES_MAX + 1]; /**< the last one of them comes late */
	unsigned count;			      /**< without it */
	uint64_t now_ms;
	uint32_t next_token;
	struct tokens written; /**< by any save */
	struct tokens removed; /**< by someone who had seen them */
	bool verbose;
};

enum step_kind {
	STEP_CREATE = 'c',
	STEP_MKDIR = 'k',
	STEP_SYMLINK = 'l',
	STEP_SAVE = 's',
	STEP_READ = 'r',  /**< a program reads a record and keeps what it read */
	STEP_STALE = 't', /**< and saves it later */
	STEP_DELETE = 'd',
	STEP_MOVE = 'm',  /**< within a collection, or, of a record, to another one */
	STEP_MERGE = 'g', /**< of two directories, as when one takes another's place */
	STEP_EXEC = 'x',
	STEP_TALK = 'T',
	STEP_CUT_OFF = 'P', /**< talk, until the connection breaks */
	STEP_RESTART = 'R',
	STEP_KILL = 'K',
	STEP_POWER = 'C',
	STEP_SKEW = 'W',   /**< a clock is set wrong */
	STEP_FOLLOW = 'F', /**< what came late for moved records is taken over */
	STEP_COMPACT = 'Z',
	STEP_MONTHS = 'M' /**< so many pass that whoever was not heard of is not waited for */
};

struct step {
	enum step_kind kind;
	uint8_t device;
	uint32_t seed;
};

struct program {
	unsigned count; /**< of devices */
	unsigned variant;
	struct step steps[STEPS_MAX];
	size_t length;
};

/* side.c */

/** Where databases are made; of this process only. */
void family_init(const char *dir);
void family_fini(void);
/** An empty family. The same one for the same numbers, in every process. */
void family_open(struct sim *s, unsigned count, unsigned variant);
void family_close(struct sim *s);
void side_open(struct side *d);
/** The process ends: orderly, killed, or with a power cut that leaves n % (their number + 1) of its last batches. */
void side_end(struct side *d, enum step_kind how, uint32_t n);
/** It ends and starts again. Notes what a power cut took away; nothing else may. */
void side_restart(struct side *d, enum step_kind how, uint32_t n);
/** Lets two talk for so many messages, or until both have nothing to say. */
void side_talk(struct side *a, struct side *b, struct rng *r, uint32_t messages);
/** It was cut off between a snapshot and the history below it: so long it cannot pass on what it shows. */
bool side_lacks_history(struct side *d);

/* edit.c */

void edit(struct side *d, const struct step *step, struct rng *r);
void handle_drop(struct handle *h);
/** Takes over all that came late for records that were moved away. true if there was anything. */
bool follow_all(struct side *d);
/** Adds what the record shows and what its losers hold. */
void record_tokens(struct side *d, const struct id *node, struct tokens *set);
/** The same of all records below a directory (or of a record). */
void tree_tokens(struct side *d, const struct id *top, struct tokens *set);

/* check.c */

/** Everybody talks, then all that must hold is checked. */
void check_all(struct sim *s, struct rng *r);

/* main.c */

/** Says what was violated, and ends the process. */
void fail(const struct sim *s, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));
/** If verbose. */
void tell(const struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
