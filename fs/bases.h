/*
 * Which version did the saving program read? A save is compared with that one, not with what is there now:
 * else it would silently undo what arrived from another device in between.
 *
 * Candidates are the versions that the saving process can have seen: those it opened or read, whichever of
 * its threads did, and those that its ancestors did; for a temporary file that takes a record's place, also
 * those of the process that wrote it. Where none of them read the record, its children and its siblings
 * count (`cat r | tr a b > new; mv new r`), and what is there now. Of several candidates, the one that
 * differs least from the save is its base, the newest on a tie; but not an older one that the save equals
 * byte for byte, if the program has seen a newer: then it means to go back.
 *
 * A save whose program had not seen everything is not what the record says then: it is kept as what this
 * program takes it for, for its next save.
 *
 * A text that hides JSON fields, because it does not parse, shows nothing of changes beneath it: who reads it
 * has seen the fields as they were when it first appeared.
 *
 * All of it is under the database's lock, and a cache: what fell out of it counts as current.
 */
#ifndef BLAZE_FS_BASES_H
#define BLAZE_FS_BASES_H

#include "core/doc.h"

#include <sys/types.h>

struct vfs;
struct txn;
struct inode;
struct saving;

/** Process or thread pid opened or read the inode's content as it is shown now. */
void bases_read(struct vfs *v, pid_t pid, const struct inode *i);

/** Without opens: the kernel's pages of it are what it says now. */
void bases_pages(struct vfs *v, const struct inode *i);

/** Versions one could have seen at most that are looked at. */
#define BASES_MAX 8

/** What a save may be based on: epochs, ascending. */
struct bases {
	uint64_t epochs[BASES_MAX];
	size_t count;
};

/** Who saves a node. */
struct saver {
	pid_t pid;	    /**< who makes the system call */
	pid_t writer;	    /**< who wrote the file that takes its place; 0 = the same */
	uint64_t otherwise; /**< the epoch that counts if nobody is known to have read it */
};

/** The candidates, while the processes are there to be asked about. */
void bases_find(struct vfs *v, const struct id *node, const struct saver *s, struct bases *ret);
/** The one to compare the save's bytes with; NULL = what the node says now. Borrowed. */
const struct doc *bases_choose(struct vfs *v, struct txn *t, const struct id *node,
			       const struct bases *b, const struct saving *s);
/** The same in two steps, for an inode that is about to be written, or (takes_over) to become that node. */
void bases_note(struct vfs *v, struct inode *i, const struct id *node, const struct saver *s,
		bool takes_over);
const struct doc *bases_of(struct vfs *v, struct txn *t, const struct inode *i,
			   const struct id *node, const struct saving *s);
/**
 * A program saved into this node, and goes on from there: from own (takes ownership), or, NULL, from what the
 * node says now.
 */
void bases_saved(struct vfs *v, const struct inode *i, const struct id *node, struct doc *own);
/** What is written next is based on this epoch, all of it. */
void bases_reset(struct inode *i, uint64_t epoch);
/** The node's content at that epoch; NULL = still the current one. Borrowed. */
const struct doc *bases_doc(struct vfs *v, const struct id *node, uint64_t epoch);
/**
 * Keeps the old content of a node that is about to change from elsewhere, if somebody may save from it:
 * in_use, or read according to the table.
 */
void bases_keep(struct vfs *v, struct txn *t, const struct id *node, bool in_use);
void bases_fini(struct vfs *v);

#endif
