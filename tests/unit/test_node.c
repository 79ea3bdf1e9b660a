/* core/node: the tokens that keep a node alive are a function of the operations, not of their order. */
#include "core/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** More devices than the set once had room for. */
#define DEVICES 1500
#define STEPS 3

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/* Every device touches the node some times without having seen the others, in its own order. */
static void touch_all(struct node *n)
{
	unsigned done[DEVICES] = {0};

	for (unsigned left = DEVICES * STEPS; left > 0;) {
		unsigned device = rnd(DEVICES);

		if (done[device] == STEPS)
			continue;
		struct opid id = {.lamport = 10 + done[device]++ * 7 + device % 5,
				  .actor = device + 1};
		struct opid own = {.lamport = id.lamport - 7, .actor = id.actor};

		node_touch(n, &own, done[device] > 1, id);
		left--;
	}
}

static bool same_tokens(const struct node *a, const struct node *b)
{
	return a->token_count == b->token_count &&
	       memcmp(a->tokens, b->tokens, a->token_count * sizeof(*a->tokens)) == 0;
}

static void test_order_makes_no_difference(void)
{
	struct node first = {0};

	touch_all(&first);
	assert(first.token_count == DEVICES);
	for (unsigned run = 0; run < 5; run++) {
		struct node other = {0};

		touch_all(&other);
		assert(same_tokens(&first, &other));
		node_fini(&other);
	}
	node_fini(&first);
}

static void test_all_tokens_are_stored(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct node n = {.kind = NODE_RECORD};
	struct node back = {0};

	touch_all(&n);
	node_encode(&n, &bytes);
	assert(node_decode(&n.id, buf_slice(&bytes), &back) == 0);
	assert(same_tokens(&n, &back));
	node_fini(&back);
	node_fini(&n);
}

/* A member that names no predecessors cannot make the set grow. */
static void test_one_token_a_device(void)
{
	struct node n = {0};

	for (uint64_t i = 1; i <= 10000; i++)
		node_touch(&n, NULL, 0, (struct opid){.lamport = i, .actor = 1 + i % 3});
	assert(n.token_count == 3 && n.tokens[2].lamport == 10000);
	node_touch(&n, n.tokens, 3, (struct opid){0});
	assert(n.token_count == 0);
	node_fini(&n);
}

int main(void)
{
	test_order_makes_no_difference();
	test_all_tokens_are_stored();
	test_one_token_a_device();
	return 0;
}
