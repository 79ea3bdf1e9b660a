/* core/moves: however the moves come, in whatever batches, the tree is the one that their order makes. */
#include "core/moves.h"

#include "core/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 40
#define MOVES_MAX 400

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

struct step {
	struct opid id;
	unsigned node;
	unsigned parent;
};

static struct id node_id(unsigned n)
{
	struct id id = {{0}};

	id.b[0] = (uint8_t)n;
	id.b[15] = 7;
	return id;
}

/* Where each node is, and by which move: by the book. */
struct tree {
	unsigned parent[NODES_MAX];
	struct opid place[NODES_MAX];
};

static bool is_above(const struct tree *t, unsigned node, unsigned below)
{
	while (below != node) {
		if (t->place[below].lamport == 0)
			return false;
		below = t->parent[below];
	}
	return true;
}

static int by_id(const void *a, const void *b)
{
	return opid_cmp(((const struct step *)a)->id, ((const struct step *)b)->id);
}

static unsigned expected(const struct step *steps, unsigned count, struct tree *ret)
{
	AUTO(free_ptr) struct step *sorted = xmemdup(steps, count * sizeof(*steps));
	unsigned skipped = 0;

	*ret = (struct tree){0};
	qsort(sorted, count, sizeof(*sorted), by_id);
	for (unsigned i = 0; i < count; i++) {
		const struct step *s = &sorted[i];

		if (is_above(ret, s->node, s->parent)) {
			skipped++;
			continue;
		}
		ret->parent[s->node] = s->parent;
		ret->place[s->node] = s->id;
	}
	return skipped;
}

static void take(void *ctx, const struct moves_place *p)
{
	struct tree *t = ctx;

	if (!p->moved)
		return;
	t->place[p->node.b[0]] = p->place;
	if (p->place.lamport)
		t->parent[p->node.b[0]] = p->parent.b[0];
}

static unsigned test_random(void)
{
	struct step steps[MOVES_MAX];
	unsigned nodes = 2 + rnd(NODES_MAX - 2);
	unsigned count = 1 + rnd(MOVES_MAX - 1);
	struct tree want;
	struct tree got = {0};
	struct moves *m = moves_create(seed);

	for (unsigned i = 0; i < count; i++) {
		steps[i] = (struct step){{i / 3 + 1, i % 3}, 1 + rnd(nodes - 1), rnd(nodes)};
		unsigned other = rnd(i + 1);
		struct step swap = steps[other];
		steps[other] = steps[i];
		steps[i] = swap;
	}
	for (unsigned i = 0, done = 0; i < count; i++) {
		struct id node = node_id(steps[i].node);
		struct id parent = node_id(steps[i].parent);

		moves_add(m, steps[i].id, &node, &parent);
		if (rnd(4) && i + 1 < count)
			continue;
		moves_settle(m, take, &got);
		done = i + 1;
		(void)expected(steps, done, &want);
		for (unsigned n = 0; n < nodes; n++) {
			assert(opid_eq(want.place[n], got.place[n]));
			assert(want.place[n].lamport == 0 || want.parent[n] == got.parent[n]);
		}
	}
	moves_destroy(m);
	return expected(steps, count, &want);
}

int main(int argc, char **argv)
{
	unsigned runs = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
	unsigned skipped = 0;

	seed = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
	for (unsigned run = 0; run < runs; run++)
		skipped += test_random();
	assert(skipped > runs); /* cycles were tried */
	(void)printf("ok %u trees, %u cycles refused\n", runs, skipped);
	return 0;
}
