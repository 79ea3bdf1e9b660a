/* Inside of packs: shared by packs.c and packs_sweep.c, and nobody else. */
#ifndef BLAZE_CORE_PACKS_I_H
#define BLAZE_CORE_PACKS_I_H

#include "core/chunk_set.h"
#include "core/packs.h"
#include "core/thread.h"

#define PACKS_RECORD_HEAD_BYTES (4 + CHUNK_ID_BYTES)
#define PACKS_MARK_KEY "Kp"

/** Where a chunk's bytes are. */
struct packs_place {
	uint64_t pack;
	uint64_t offset;
	uint64_t length;
};

struct fresh {
	struct chunk_id id;
	struct packs_place at;
};

struct mark {
	uint64_t pack;
	uint64_t offset;
};

struct packs {
	char *dir;
	struct store *store;
	const struct chunk_keys *keys;
	uint64_t salt;

	struct mutex lock; /* protects what follows */
	int fd;		   /* of the pack appended to */
	struct mark end;   /* of what was appended */
	struct mark mark;  /* of what is in the index */
	struct fresh *fresh;
	size_t fresh_count;
	size_t fresh_cap;
	uint64_t fresh_bytes;
	uint32_t *slots; /* hash of fresh: index + 1; a power of two, at most half full */
	size_t slot_count;
	struct packs_damage *damages; /* in the order they were found */
	size_t damage_count;	      /* atomic, to be read without the lock when it is 0 */
	size_t damage_cap;
	size_t damage_staged;	/* those before are in the store */
	bool watching;		/* atomic, to be read without the lock when false */
	struct chunk_set asked; /* while watching: what somebody counts on */
	struct chunk_set dying; /* its place in the index is being taken away */
};

char *packs_path(const struct packs *p, uint64_t number);
struct slice packs_key(struct buf *key, const struct chunk_id *id);
struct slice packs_damage_key(struct buf *key, const struct chunk_id *id);
int packs_place_decode(struct slice value, struct packs_place *ret);
int packs_find(struct packs *p, const struct chunk_id *id, struct packs_place *ret);
/** -ENOENT: there is no such pack. */
int packs_read_place(const struct packs *p, const struct packs_place *at, struct buf *ret);
/** The pack of that number is appended to from now on. */
int packs_open_next(struct packs *p, uint64_t number);
int packs_append_locked(struct packs *p, const struct chunk_id *id, struct slice bytes);
int packs_sync_dir(const char *path);
bool packs_is_damaged(struct packs *p, const struct chunk_id *id);
/** How many are known then; 0 = it was already. */
size_t packs_note_damage(struct packs *p, const struct chunk_id *id, uint64_t length);
void packs_forget_damage_locked(struct packs *p, const struct chunk_id *id);
/** Somebody asks for a chunk and may count on it. false: it is about to go, and counts as not here. */
bool packs_watch_asked(struct packs *p, const struct chunk_id *id);

#endif
