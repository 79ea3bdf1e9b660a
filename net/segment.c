/* Files of a folder relay; see segment.h. */
#include "net/segment.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "blaze seg1"

static bool has_seqs(enum mailbox_kind kind)
{
	return kind == MAILBOX_ENVELOPE || kind == MAILBOX_STRATUM;
}

static void write_item_head(const struct segment_item *i, struct buf *out)
{
	buf_u8(out, (uint8_t)i->kind);
	buf_be64(out, i->epoch);
	id_write(out, &i->tag);
	if (has_seqs(i->kind)) {
		buf_varint(out, i->first);
		buf_varint(out, i->count);
	}
}

void segment_item(const struct segment_item *i, struct slice sealed, struct buf *out)
{
	write_item_head(i, out);
	buf_slice_append(out, sealed);
}

void segment_fini(struct segment *s)
{
	free(STEAL(s->items));
	s->count = 0;
}

static void digest_text(struct slice head, uint8_t ret[DIGEST_BYTES])
{
	digest(ret, "blaze segment", &head, 1);
}

static void digest_body(struct slice body, uint8_t ret[DIGEST_BYTES])
{
	digest(ret, "blaze segment body", &body, 1);
}

static bool read_item(struct reader *r, struct segment_item *ret)
{
	*ret = (struct segment_item){.len = reader_be32(r)};
	ret->kind = (enum mailbox_kind)reader_u8(r);
	ret->epoch = reader_be64(r);
	ret->tag = id_read(r);
	if (has_seqs(ret->kind)) {
		ret->first = reader_varint_max(r, INT64_MAX);
		ret->count = reader_varint_max(r, INT32_MAX);
	}
	return !r->bad && ret->kind >= MAILBOX_ENVELOPE && ret->kind <= MAILBOX_SLOT &&
	       (!has_seqs(ret->kind) || (ret->first > 0 && ret->count > 0)) && ret->len > 0 &&
	       ret->len <= MAILBOX_ITEM_BYTES_MAX;
}

/* A head that is cut off is -EAGAIN as long as it may be whole. */
static int read_items(struct reader *r, struct segment *s)
{
	uint64_t end = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (reader_left(r) < SEGMENT_ITEM_HEAD_BYTES_MAX + sizeof(s->body))
			return -EAGAIN;
		if (!read_item(r, &s->items[i]))
			return -EBADMSG;
		s->items[i].offset = (uint32_t)end; /* for now, within the body */
		end += s->items[i].len;
		if (end > s->size)
			return -EBADMSG;
	}
	if (reader_left(r) < sizeof(s->body) + sizeof(s->signature))
		return -EAGAIN;
	return (int64_t)end <= INT32_MAX ? (int)end : -EBADMSG;
}

int segment_decode(struct slice beginning, uint64_t size, struct segment *ret)
{
	struct reader r = reader_init(beginning);
	struct slice magic = reader_take(&r, strlen(MAGIC));
	struct segment s = {.mailbox = id_read(&r), .writer = id_read(&r)};

	s.number = reader_be64(&r);
	uint64_t length = reader_be64(&r);
	uint32_t count = reader_be32(&r);
	if (r.bad || !slice_eq(magic, SLICE_STR(MAGIC)) || length != size ||
	    size > SEGMENT_BYTES_MAX || count == 0 || count > SEGMENT_ITEMS_MAX ||
	    count > size / (4 + 1 + 8 + 16))
		return -EBADMSG;
	s.size = (uint32_t)size;
	s.count = count;
	s.items = xcalloc(count, sizeof(*s.items));
	int body = read_items(&r, &s);
	if (body == -EAGAIN && beginning.len >= size)
		body = -EBADMSG;
	if (body < 0) {
		segment_fini(&s);
		return body;
	}
	reader_copy(&r, s.body, sizeof(s.body));
	digest_text(SLICE(beginning.data, beginning.len - reader_left(&r)), s.text);
	reader_copy(&r, s.signature, sizeof(s.signature));
	s.head = (uint32_t)(beginning.len - reader_left(&r));
	if ((uint64_t)s.head + (uint64_t)body != size) {
		segment_fini(&s);
		return -EBADMSG;
	}
	for (size_t i = 0; i < s.count; i++)
		s.items[i].offset += s.head;
	*ret = s;
	return 0;
}

/* Nothing else that a device signs begins like this. */
static struct slice signed_text(const uint8_t text[DIGEST_BYTES], struct buf *out)
{
	buf_append(out, "blaze segment", strlen("blaze segment"));
	buf_append(out, text, DIGEST_BYTES);
	return buf_slice(out);
}

bool segment_is_signed(const uint8_t text[DIGEST_BYTES],
		       const uint8_t signature[KEYS_SIGNATURE_BYTES],
		       const uint8_t sign_pk[KEYS_PK_BYTES])
{
	AUTO(buf_fini) struct buf all = {0};

	return keys_verify(sign_pk, signed_text(text, &all), signature);
}

bool segment_is_whole(const struct segment *s, struct slice file)
{
	uint8_t body[DIGEST_BYTES];

	if (file.len != s->size)
		return false;
	digest_body(SLICE(file.data + s->head, file.len - s->head), body);
	return memcmp(body, s->body, sizeof(body)) == 0;
}

void segment_encode(struct segment *s, const struct keys *keys, const struct slice *items,
		    size_t count, struct buf *out)
{
	AUTO(buf_fini) struct buf table = {0};
	AUTO(buf_fini) struct buf body = {0};
	AUTO(buf_fini) struct buf text = {0};
	size_t start = out->len;

	assert(count > 0 && count <= SEGMENT_ITEMS_MAX);
	s->count = count;
	s->items = xcalloc(count, sizeof(*s->items));
	for (size_t i = 0; i < count; i++) {
		struct mailbox_item item;
		int r = mailbox_item_decode(items[i], &item);

		assert(r == 0);
		s->items[i] = (struct segment_item){.kind = item.kind,
						    .epoch = item.epoch,
						    .tag = item.tag,
						    .first = item.seq_first,
						    .count = item.count,
						    .offset = (uint32_t)body.len,
						    .len = (uint32_t)item.sealed.len};
		buf_be32(&table, s->items[i].len);
		write_item_head(&s->items[i], &table);
		buf_slice_append(&body, item.sealed);
	}
	s->head =
		(uint32_t)(SEGMENT_FIXED_BYTES + table.len + sizeof(s->body) + sizeof(s->signature));
	s->size = (uint32_t)(s->head + body.len);
	assert(s->size <= SEGMENT_BYTES_MAX);
	buf_append(out, MAGIC, strlen(MAGIC));
	id_write(out, &s->mailbox);
	id_write(out, &s->writer);
	buf_be64(out, s->number);
	buf_be64(out, s->size);
	buf_be32(out, (uint32_t)count);
	buf_slice_append(out, buf_slice(&table));
	digest_body(buf_slice(&body), s->body);
	buf_append(out, s->body, sizeof(s->body));
	digest_text(SLICE(out->data + start, out->len - start), s->text);
	keys_sign(keys, signed_text(s->text, &text), s->signature);
	buf_append(out, s->signature, sizeof(s->signature));
	buf_slice_append(out, buf_slice(&body));
	for (size_t i = 0; i < count; i++)
		s->items[i].offset += s->head;
}
