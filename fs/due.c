/* The inodes with something unpublished, in a heap by when they are due: thousands may wait at a time. */
#include "fs/vfs_i.h"

#include <stdlib.h>

static void place(struct due_queue *q, size_t at, struct inode *i)
{
	q->heap[at] = i;
	i->due_index = at;
}

static void sift_up(struct due_queue *q, struct inode *i)
{
	size_t at = i->due_index;

	for (; at > 0 && q->heap[(at - 1) / 2]->due_ms > i->due_ms; at = (at - 1) / 2)
		place(q, at, q->heap[(at - 1) / 2]);
	place(q, at, i);
}

static void sift_down(struct due_queue *q, struct inode *i)
{
	size_t at = i->due_index;

	for (;;) {
		size_t child = at * 2 + 1;

		if (child + 1 < q->count && q->heap[child + 1]->due_ms < q->heap[child]->due_ms)
			child++;
		if (child >= q->count || q->heap[child]->due_ms >= i->due_ms)
			break;
		place(q, at, q->heap[child]);
		at = child;
	}
	place(q, at, i);
}

void due_add(struct due_queue *q, struct inode *i, uint64_t due_ms)
{
	if (q->count == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 64;
		q->heap = xreallocarray(q->heap, q->cap, sizeof(struct inode *));
	}
	i->due_ms = due_ms;
	place(q, q->count++, i);
	sift_up(q, i);
}

void due_set(struct due_queue *q, struct inode *i, uint64_t due_ms)
{
	i->due_ms = due_ms;
	sift_up(q, i);
	sift_down(q, i);
}

void due_remove(struct due_queue *q, struct inode *i)
{
	struct inode *last = q->heap[--q->count];

	assert(q->heap[i->due_index] == i || last == i);
	if (last == i)
		return;
	place(q, i->due_index, last);
	sift_up(q, last);
	sift_down(q, last);
}

struct inode *due_first(const struct due_queue *q)
{
	return q->count ? q->heap[0] : NULL;
}
