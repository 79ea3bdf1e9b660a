/* See core/moves.h. Nodes and moves are numbers, so that undo and redo touch little memory. */
#include "core/moves.h"

#include "core/base.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct move {
	struct opid id;
	uint32_t node;
	uint32_t parent;
	uint32_t before; /**< the node's move in force before this one took effect */
	bool done;
};

struct spot {
	struct id id;
	uint32_t place;	 /**< the move in force, NONE */
	uint32_t before; /**< the one before this settling */
	bool listed;	 /**< among the changed of this settling */
	bool skipped;
};

struct moves {
	uint64_t salt;
	struct spot *nodes;
	uint32_t node_count;
	uint32_t node_cap;
	uint32_t *slots; /**< of a hash table: node + 1 */
	uint32_t slot_count;
	struct move *moves;
	uint32_t *order; /**< moves by id; those from settled_count on are new, in no order */
	uint32_t move_count;
	uint32_t move_cap;
	uint32_t settled_count;
	uint32_t *changed;
	uint32_t changed_count;
	uint32_t changed_cap;
};

struct moves *moves_create(uint64_t salt)
{
	struct moves *m = xcalloc(1, sizeof(*m));

	m->salt = salt;
	return m;
}

void moves_destroy(struct moves *m)
{
	if (!m)
		return;
	free(m->nodes);
	free(m->slots);
	free(m->moves);
	free(m->order);
	free(m->changed);
	free(m);
}

size_t moves_count(const struct moves *m)
{
	return m->move_count;
}

static uint32_t slot_of(const struct moves *m, const struct id *id)
{
	uint64_t a = 0;
	uint64_t b = 0;

	memcpy(&a, id->b, sizeof(a));
	memcpy(&b, id->b + sizeof(a), sizeof(b));
	a = (a ^ m->salt) * UINT64_C(0xff51afd7ed558ccd);
	return (uint32_t)(((a ^ b ^ a >> 32) * UINT64_C(0xc4ceb9fe1a85ec53)) >> 32) &
	       (m->slot_count - 1);
}

static void grow_slots(struct moves *m)
{
	m->slot_count = m->slot_count ? m->slot_count * 2 : 64;
	free(m->slots);
	m->slots = xcalloc(m->slot_count, sizeof(*m->slots));
	for (uint32_t n = 0; n < m->node_count; n++) {
		uint32_t at = slot_of(m, &m->nodes[n].id);

		while (m->slots[at])
			at = (at + 1) & (m->slot_count - 1);
		m->slots[at] = n + 1;
	}
}

/* The node's number; a node met for the first time is nowhere. */
static uint32_t number_of(struct moves *m, const struct id *id)
{
	if (m->node_count * 2 >= m->slot_count)
		grow_slots(m);
	uint32_t at = slot_of(m, id);
	while (m->slots[at]) {
		if (id_eq(&m->nodes[m->slots[at] - 1].id, id))
			return m->slots[at] - 1;
		at = (at + 1) & (m->slot_count - 1);
	}
	if (m->node_count == m->node_cap) {
		m->node_cap = m->node_cap ? m->node_cap * 2 : 64;
		m->nodes = xreallocarray(m->nodes, m->node_cap, sizeof(*m->nodes));
	}
	m->nodes[m->node_count] = (struct spot){.id = *id, .place = NONE};
	m->slots[at] = ++m->node_count;
	return m->node_count - 1;
}

void moves_add(struct moves *m, struct opid id, const struct id *node, const struct id *parent)
{
	if (m->move_count == m->move_cap) {
		m->move_cap = m->move_cap ? m->move_cap * 2 : 64;
		m->moves = xreallocarray(m->moves, m->move_cap, sizeof(*m->moves));
		m->order = xreallocarray(m->order, m->move_cap, sizeof(*m->order));
	}
	m->moves[m->move_count] = (struct move){
		.id = id, .node = number_of(m, node), .parent = number_of(m, parent), .before = NONE};
	m->order[m->move_count] = m->move_count;
	m->move_count++;
}

static void note(struct moves *m, uint32_t node)
{
	struct spot *n = &m->nodes[node];

	if (n->listed)
		return;
	n->listed = true;
	n->before = n->place;
	n->skipped = false;
	if (m->changed_count == m->changed_cap) {
		m->changed_cap = m->changed_cap ? m->changed_cap * 2 : 64;
		m->changed = xreallocarray(m->changed, m->changed_cap, sizeof(*m->changed));
	}
	m->changed[m->changed_count++] = node;
}

/* Whether `node` is `below`, or above it. The tree has no cycles, so this comes to an end. */
static bool is_above(const struct moves *m, uint32_t node, uint32_t below)
{
	while (below != node) {
		uint32_t place = m->nodes[below].place;

		if (place == NONE)
			return false;
		below = m->moves[place].parent;
	}
	return true;
}

static void undo(struct moves *m, uint32_t number)
{
	const struct move *move = &m->moves[number];

	if (!move->done)
		return;
	note(m, move->node);
	m->nodes[move->node].place = move->before;
}

static void redo(struct moves *m, uint32_t number)
{
	struct move *move = &m->moves[number];
	struct spot *n = &m->nodes[move->node];

	note(m, move->node);
	move->done = !is_above(m, move->node, move->parent);
	move->before = n->place;
	if (move->done)
		n->place = number;
	else
		n->skipped = true;
}

/* qsort() has no argument to pass the moves in. */
struct sorting {
	struct opid id;
	uint32_t number;
};

static int by_id(const void *a, const void *b)
{
	return opid_cmp(((const struct sorting *)a)->id, ((const struct sorting *)b)->id);
}

/* Sorts what is new and undoes all that comes after its first. Returns the first position to be redone. */
static uint32_t make_room(struct moves *m)
{
	uint32_t fresh = m->move_count - m->settled_count;
	AUTO(free_ptr) struct sorting *late = xcalloc(fresh, sizeof(*late));
	uint32_t *order = m->order;

	for (uint32_t i = 0; i < fresh; i++) {
		late[i].number = order[m->settled_count + i];
		late[i].id = m->moves[late[i].number].id;
	}
	qsort(late, fresh, sizeof(*late), by_id);
	uint32_t from = m->settled_count;
	uint32_t to = m->move_count;
	while (from > 0 && opid_cmp(m->moves[order[from - 1]].id, late[0].id) > 0)
		undo(m, order[--from]);
	/* Merges from behind, into the room that the new ones have there. */
	uint32_t kept = m->settled_count;
	while (fresh > 0) {
		if (kept > from && opid_cmp(m->moves[order[kept - 1]].id, late[fresh - 1].id) > 0)
			order[--to] = order[--kept];
		else
			order[--to] = late[--fresh].number;
	}
	return from;
}

void moves_settle(struct moves *m, void (*fn)(void *ctx, const struct moves_place *p), void *ctx)
{
	if (m->settled_count == m->move_count)
		return;
	for (uint32_t i = make_room(m); i < m->move_count; i++)
		redo(m, m->order[i]);
	m->settled_count = m->move_count;
	for (uint32_t i = 0; i < m->changed_count; i++) {
		struct spot *n = &m->nodes[m->changed[i]];
		struct moves_place p = {
			.node = n->id, .moved = n->place != n->before, .skipped = n->skipped};

		n->listed = false;
		if (n->place != NONE) {
			p.place = m->moves[n->place].id;
			p.parent = m->nodes[m->moves[n->place].parent].id;
		}
		if (p.moved || p.skipped)
			fn(ctx, &p);
	}
	m->changed_count = 0;
}
