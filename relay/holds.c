/* HOLD, as a sorted list. */
#include "relay/holds.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	const struct mailbox_range *x = a;
	const struct mailbox_range *y = b;

	return id_cmp(&x->tag, &y->tag);
}

int holds_decode(struct slice list, struct holds *ret)
{
	struct reader r = reader_init(list);
	struct holds h = {0};

	if (list.len / (sizeof(struct id) + 1) > HOLDS_MAX)
		return -EBADMSG;
	h.items = xcalloc(list.len / (sizeof(struct id) + 1) + 1, sizeof(*h.items));
	while (reader_left(&r) > 0 && !r.bad) {
		struct mailbox_range *item = &h.items[h.count];

		item->tag = id_read(&r);
		item->first = 1;
		item->last = reader_varint_max(&r, INT64_MAX);
		r.bad = r.bad || (h.count > 0 && compare(item - 1, item) >= 0);
		h.count += !r.bad;
	}
	if (r.bad) {
		holds_fini(&h);
		return -EBADMSG;
	}
	*ret = h;
	return 0;
}

void holds_fini(struct holds *h)
{
	free(h->items);
	*h = (struct holds){0};
}

bool holds_cover(const struct holds *h, const struct mailbox_item *item)
{
	const struct mailbox_range key = {.tag = item->tag};
	const struct mailbox_range *found =
		h->count ? bsearch(&key, h->items, h->count, sizeof(*h->items), compare) : NULL;

	return found && item->seq_first + item->count - 1 <= found->last;
}
