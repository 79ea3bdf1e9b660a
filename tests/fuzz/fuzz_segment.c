/*
 * A file of a folder relay: whatever anybody put there. What is accepted lies within the file and is made of items; and what is
 * written is read again as it was.
 */
#include "net/folder_i.h"
#include "net/segment.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_items(const struct segment *s, struct slice file)
{
	for (size_t i = 0; i < s->count; i++) {
		AUTO(buf_fini) struct buf bytes = {0};
		struct mailbox_item item;
		const struct segment_item *at = &s->items[i];

		if (at->offset < s->head || (uint64_t)at->offset + at->len > s->size)
			abort();
		if (s->size > file.len)
			continue;
		segment_item(at, SLICE(file.data + at->offset, at->len), &bytes);
		if (mailbox_item_decode(buf_slice(&bytes), &item) == 0 &&
		    (item.kind != at->kind || item.seq_first != at->first || item.count != at->count ||
		     item.epoch != at->epoch || item.sealed.len != at->len))
			abort();
	}
}

/* What such files say they hold, together. */
static void check_index(struct segment *s)
{
	struct folder_index x = {0};
	AUTO(free_ptr) struct mailbox_range *ranges = NULL;
	struct folder_file *file = folder_index_add(&x, "a");
	struct id tag = s->items[0].tag;

	folder_index_set(&x, file, s);
	file->known = file->own = file->whole = true;
	(void)folder_index_have(&x, NULL, 0, &ranges);
	(void)folder_index_chunk(&x, &tag, NULL);
	if (folder_index_is_spare(&x, file))
		abort();
	folder_index_fini(&x);
}

static void check_file(struct slice file, uint64_t size)
{
	struct segment s = {0};
	int r = segment_decode(file, size, &s);

	if (r == -EAGAIN && file.len >= size)
		abort();
	if (r < 0)
		return;
	check_items(&s, file);
	(void)segment_is_whole(&s, file);
	check_index(&s);
	segment_fini(&s);
}

/* The input as a head whose magic, length and count are as they should be: a fuzzer would look for them for long. */
static void check_repaired(struct slice bytes)
{
	AUTO(buf_fini) struct buf file = {0};

	buf_append(&file, "blaze seg1", 10);
	buf_resize(&file, 10 + 16 + 16 + 8);
	buf_be64(&file, SEGMENT_FIXED_BYTES + bytes.len);
	buf_be32(&file, bytes.len ? bytes.data[0] : 0);
	buf_slice_append(&file, bytes);
	check_file(buf_slice(&file), file.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = SLICE(data, size);

	digest_init();
	check_file(bytes, size);
	check_file(bytes, 2 * (uint64_t)size);
	check_repaired(bytes);
	return 0;
}
