/*
 * Inside of core/text: shared by text*.c and nobody else.
 *
 * Events are single bytes, inserted or deleted, numbered by arrival (lv, local version); number 0
 * is the text at the beginning. They are kept in runs, in two ways:
 *   chains  operations of one author, each built on nothing but the one before
 *   runs    edits next to each other: "12 bytes inserted from 100 on"
 * A version is a set of event numbers: everything they are built on and themselves.
 */
#ifndef BLAZE_CORE_TEXT_I_H
#define BLAZE_CORE_TEXT_I_H

#include "core/arena.h"
#include "core/text.h"

#define LV_ROOT 0u
#define LV_NONE UINT64_MAX

struct chain {
	uint64_t lv;
	uint64_t end;	  /**< lv of the event after */
	uint64_t per_op;  /**< events of each operation */
	uint64_t lamport; /**< of the first operation */
	uint64_t len;	  /**< of the text at its parents */
	uint32_t actor;	  /**< index */
	uint32_t parents; /**< index of the first in graph.parents; ascending */
	uint32_t parent_count;
};

enum run_kind {
	RUN_INS,  /**< bytes inserted from pos on */
	RUN_DEL,  /**< bytes deleted, each at pos */
	RUN_BACK, /**< bytes deleted at pos, pos - 1, ... */
	RUN_NONE, /**< nothing happened */
};

struct run {
	uint64_t lv;
	uint64_t len;
	uint64_t pos;
	enum run_kind kind;
};

struct graph_actor {
	uint64_t actor;
	uint32_t *chains; /**< ascending */
	size_t count;
	size_t cap;
};

struct graph {
	struct chain *chains;
	size_t chain_count;
	size_t chain_cap;
	struct run *runs;
	size_t run_count;
	size_t run_cap;
	uint64_t *parents;
	size_t parent_count;
	size_t parent_cap;
	struct graph_actor *actors;
	size_t actor_count;
	uint64_t next;	   /**< number of the next event */
	uint64_t root_len; /**< of the text at LV_ROOT */
	bool partial;	   /**< number 0 stands for something unknown */
};

/** A set of event numbers, ascending. Zero-initialise; free items. */
struct version {
	uint64_t *items;
	size_t count;
	size_t cap;
};

/** Event numbers from first to last. */
struct span {
	uint64_t first;
	uint64_t last;
};

struct spans {
	struct span *items;
	size_t count;
	size_t cap;
};

/** An event found from one version or both. */
struct mark {
	uint64_t lv;
	unsigned flags;
};

#define IN_A 1u
#define IN_B 2u
#define IN_BOTH 3u

/** How two versions differ; keeps its memory from one use to the next. Zero-initialise. */
struct apart {
	struct spans only_a; /**< the latest first */
	struct spans only_b;
	struct mark *marks; /**< still to be looked behind, ascending */
	size_t count;
	size_t cap;
	size_t open; /**< not in both */
};

/* text_graph.c */

void graph_fini(struct graph *g);
/** Adds an operation; e NULL or empty: it changes nothing. Returns its last event. */
uint64_t graph_add(struct graph *g, struct opid id, const struct version *parents, uint64_t len,
		   const struct text_edits *e);
/** The last event of the operation, LV_NONE if it is not here. */
uint64_t graph_find(const struct graph *g, struct opid id);
/** The operation of an event that is not LV_ROOT. */
struct opid graph_opid(const struct graph *g, uint64_t lv);
const struct chain *graph_chain(const struct graph *g, uint64_t lv);
/** Index of the run with this event. */
size_t graph_run(const struct graph *g, uint64_t lv);
/** The part of a run from event `from` on, to `end` at most. */
struct run graph_clip(const struct run *run, uint64_t from, uint64_t end);
/** Length of the text at an event. */
uint64_t graph_len_at(const struct graph *g, uint64_t lv);
/**
 * The latest version that everything not in it is built on, given that the whole graph is a and b and what
 * they are built on. *ret_len is the length of the text there. If the graph is partial, {LV_ROOT} means
 * that it is not in the graph.
 */
void graph_base(const struct graph *g, const struct version *a, const struct version *b,
		struct version *ret, uint64_t *ret_len);
/** Finds the events above `floor` that are only in `a` or only in `b`. */
void graph_diff(const struct graph *g, const struct version *a, const struct version *b,
		uint64_t floor, struct apart *d);
void apart_fini(struct apart *d);

void version_set(struct version *v, const uint64_t *items, size_t count);
/** Keeps it ascending and without repetition. */
void version_add(struct version *v, uint64_t lv);
bool version_eq(const struct version *a, const struct version *b);
void version_fini(struct version *v);

/* text_walk.c: the tracker */

struct walk;

/** Told what an event becomes in the text as it is now. */
struct walk_sink {
	void *ctx;
	void (*insert)(void *ctx, uint64_t pos, struct slice bytes);
	void (*remove)(void *ctx, uint64_t pos, uint64_t len);
};

/** Replays all events of the graph above base, without telling anybody. */
struct walk *walk_create(const struct graph *g, const struct version *base, uint64_t base_len);
void walk_destroy(struct walk *w);
/** Whether operations with these parents can be walked. */
bool walk_reaches(const struct walk *w, const struct version *parents);
/** Goes to a version and returns how long the text is there. */
uint64_t walk_to(struct walk *w, const struct version *at);
/** Applies the operation that ends with event `last`, in the version it was built on. */
void walk_apply(struct walk *w, uint64_t first, uint64_t last, const struct text_edits *e,
		const struct walk_sink *sink);

/** What the walk begins with. */
const struct version *walk_base(const struct walk *w);
/**
 * Calls fn for all events above the base, in runs: where in the text now their bytes are (len of them), or,
 * len 0, where those stood that they deleted. What was inserted and deleted is told as deleted.
 */
void walk_touches(const struct walk *w,
		  void (*fn)(void *ctx, struct span events, uint64_t pos, uint64_t len), void *ctx);

/* text.c */

/** Inserted bytes in the order of their events, if the text keeps its history. */
struct history {
	bool kept;
	struct buf inserted;
};

struct text {
	struct graph graph;
	struct walk *walk;
	unsigned calm; /**< operations since the last concurrent one */
	struct version heads;
	uint8_t *data; /**< a gap buffer: [0, gap), [gap_end, cap) */
	size_t cap;
	size_t gap;
	size_t gap_end;
	struct history history;
};

#endif
