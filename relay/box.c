/* Mailboxes; see box.h. */
#include "relay/box.h"

#include <stdlib.h>
#include <string.h>

#define BOX_VERSION 2
#define FEEDS_MAX 200000
/** What an entry costs besides its bytes. */
#define ENTRY_BYTES 64
#define LOG_HEAD_BYTES (8 + DIGEST_BYTES)
#define BATCH_MAX 4

struct boxes {
	struct relay_store *store;
	struct box_limits limits;
	struct box *first;
	uint64_t written;
	uint64_t count;
};

/* A batch being put together. */
struct batch {
	struct buf keys[BATCH_MAX];
	struct buf values[BATCH_MAX];
	size_t count;
};

static void batch_fini(struct batch *b)
{
	for (size_t i = 0; i < BATCH_MAX; i++) {
		buf_fini(&b->keys[i]);
		buf_fini(&b->values[i]);
	}
}

static void write_key(struct buf *key, char kind, const struct id *box)
{
	buf_clear(key);
	buf_u8(key, (uint8_t)kind);
	id_write(key, box);
}

/* Begins an entry and returns its value, to be written to. */
static struct buf *batch_put(struct batch *b, char kind, const struct id *box, struct slice rest)
{
	assert(b->count < BATCH_MAX);
	struct buf *key = &b->keys[b->count];

	write_key(key, kind, box);
	buf_slice_append(key, rest);
	return &b->values[b->count++];
}

static int batch_commit(struct boxes *boxes, struct batch *b)
{
	struct relay_write writes[BATCH_MAX];

	for (size_t i = 0; i < b->count; i++)
		writes[i] = (struct relay_write){buf_slice(&b->keys[i]), buf_slice(&b->values[i])};
	int r = boxes->store->ops->write(boxes->store, writes, b->count);
	boxes->written += r == 0;
	return r;
}

static void write_basics(struct batch *batch, const struct box *b)
{
	struct buf *v = batch_put(batch, 'B', &b->id, SLICE("", 0));

	buf_u8(v, BOX_VERSION);
	id_write(v, &b->log);
	buf_varint(v, b->first);
	buf_varint(v, b->head);
	buf_append(v, b->first_chain, sizeof(b->first_chain));
	buf_append(v, b->head_chain, sizeof(b->head_chain));
	buf_varint(v, b->bytes);
	buf_varint(v, b->slot_last);
	buf_varint(v, b->begun_ms);
}

static int read_basics(struct box *b, struct slice value)
{
	struct reader r = reader_init(value);

	if (reader_u8(&r) != BOX_VERSION)
		return -EBADMSG;
	b->log = id_read(&r);
	b->first = reader_varint(&r);
	b->head = reader_varint(&r);
	reader_copy(&r, b->first_chain, sizeof(b->first_chain));
	reader_copy(&r, b->head_chain, sizeof(b->head_chain));
	b->bytes = reader_varint(&r);
	b->slot_last = reader_varint(&r);
	b->begun_ms = reader_varint(&r);
	return reader_finish(&r);
}

/* ---- all of them --------------------------------------------------------------------------------- */

static bool count_box(void *ctx, struct slice key, struct slice value)
{
	uint64_t *count = ctx;

	(void)key;
	(void)value;
	(*count)++;
	return true;
}

int boxes_create(struct relay_store *store, const struct box_limits *limits, struct boxes **ret)
{
	struct boxes *b = xcalloc(1, sizeof(*b));

	b->store = store;
	b->limits = *limits;
	int r = store->ops->scan(store, SLICE_STR("B"), SLICE("", 0), count_box, &b->count);
	if (r < 0) {
		free(b);
		return r;
	}
	*ret = b;
	return 0;
}

void boxes_destroy(struct boxes *b)
{
	if (!b)
		return;
	assert(!b->first);
	b->store->ops->close(b->store);
	free(b);
}

struct relay_store *boxes_store(struct boxes *b)
{
	return b->store;
}

uint64_t boxes_written(const struct boxes *b)
{
	return b->written;
}

uint64_t boxes_count(const struct boxes *b)
{
	return b->count;
}

/* ---- loading ------------------------------------------------------------------------------------- */

static size_t feed_index(const struct box *b, const struct id *tag)
{
	size_t lo = 0;
	size_t hi = b->feed_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (id_cmp(&b->feeds[mid].tag, tag) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint64_t feed_seq(const struct box *b, const struct id *tag)
{
	size_t i = feed_index(b, tag);

	return i < b->feed_count && id_eq(&b->feeds[i].tag, tag) ? b->feeds[i].seq : 0;
}

static void set_feed(struct box *b, const struct id *tag, uint64_t seq)
{
	size_t i = feed_index(b, tag);

	if (i == b->feed_count || !id_eq(&b->feeds[i].tag, tag)) {
		b->feeds = xreallocarray(b->feeds, b->feed_count + 1, sizeof(*b->feeds));
		memmove(b->feeds + i + 1, b->feeds + i, (b->feed_count - i) * sizeof(*b->feeds));
		b->feed_count++;
	}
	b->feeds[i] = (struct box_feed){.tag = *tag, .seq = seq};
}

static struct box_slot *find_slot(const struct box *b, const uint8_t dh_pk[KEYS_PK_BYTES])
{
	for (size_t i = 0; i < b->slot_count; i++) {
		if (memcmp(b->slots[i].dh_pk, dh_pk, KEYS_PK_BYTES) == 0)
			return &b->slots[i];
	}
	return NULL;
}

/* The new one is the last: they are sorted by number. */
static void set_slot(struct box *b, const uint8_t dh_pk[KEYS_PK_BYTES], uint64_t number)
{
	struct box_slot *old = find_slot(b, dh_pk);

	if (old) {
		size_t i = (size_t)(old - b->slots);

		memmove(old, old + 1, (b->slot_count - i - 1) * sizeof(*old));
		b->slot_count--;
	}
	b->slots = xreallocarray(b->slots, b->slot_count + 1, sizeof(*b->slots));
	struct box_slot *slot = &b->slots[b->slot_count++];
	slot->number = number;
	memcpy(slot->dh_pk, dh_pk, KEYS_PK_BYTES);
}

static struct box_taken *taken_of(struct box *b, const uint8_t dh_pk[KEYS_PK_BYTES])
{
	for (size_t i = 0; i < b->taken_count; i++) {
		if (memcmp(b->taken[i].dh_pk, dh_pk, KEYS_PK_BYTES) == 0)
			return &b->taken[i];
	}
	b->taken = xreallocarray(b->taken, b->taken_count + 1, sizeof(*b->taken));
	struct box_taken *t = &b->taken[b->taken_count++];
	*t = (struct box_taken){0};
	memcpy(t->dh_pk, dh_pk, KEYS_PK_BYTES);
	return t;
}

static bool load_entry(void *ctx, struct slice key, struct slice value)
{
	struct box *b = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	uint8_t kind = reader_u8(&k);
	uint8_t dh_pk[KEYS_PK_BYTES];

	(void)id_read(&k);
	if (kind == 'H') {
		struct id tag = id_read(&k);

		set_feed(b, &tag, reader_varint(&v));
		return true;
	}
	reader_copy(&k, dh_pk, sizeof(dh_pk));
	if (kind == 'T')
		taken_of(b, dh_pk)->cursor = reader_varint(&v);
	else
		set_slot(b, dh_pk, reader_varint(&v));
	return true;
}

static int compare_slots(const void *a, const void *b)
{
	const struct box_slot *x = a;
	const struct box_slot *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int load(struct box *b)
{
	struct relay_store *store = b->boxes->store;
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf value = {0};

	write_key(&key, 'B', &b->id);
	int r = store->ops->read(store, buf_slice(&key), &value);
	if (r == 0)
		r = read_basics(b, buf_slice(&value));
	if (r == 0) {
		write_key(&key, 'A', &b->id);
		r = store->ops->read(store, buf_slice(&key), &value);
		r = r == -ENOENT ? -EBADMSG : r;
	}
	if (r == 0)
		r = mail_acl_decode(buf_slice(&value), &b->acl);
	for (const char *kind = "HST"; r == 0 && *kind; kind++) {
		write_key(&key, *kind, &b->id);
		r = store->ops->scan(store, buf_slice(&key), SLICE("", 0), load_entry, b);
	}
	if (r == 0 && b->slot_count > 0)
		qsort(b->slots, b->slot_count, sizeof(*b->slots), compare_slots);
	return r;
}

static struct box *box_add(struct boxes *boxes, const struct id *id)
{
	struct box *b = xcalloc(1, sizeof(*b));

	b->boxes = boxes;
	b->id = *id;
	b->refs = 1;
	b->next = boxes->first;
	boxes->first = b;
	return b;
}

void box_unref(struct box *b)
{
	struct box **at = &b->boxes->first;

	if (--b->refs > 0)
		return;
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	mail_acl_fini(&b->acl);
	free(b->feeds);
	free(b->slots);
	free(b->taken);
	free(b);
}

int box_open(struct boxes *boxes, const struct id *id, struct box **ret)
{
	for (struct box *b = boxes->first; b; b = b->next) {
		if (!id_eq(&b->id, id))
			continue;
		b->refs++;
		*ret = b;
		return 0;
	}
	struct box *b = box_add(boxes, id);
	int r = load(b);
	if (r < 0) {
		box_unref(b);
		return r;
	}
	*ret = b;
	return 0;
}

/* ---- making one, and who may use it -------------------------------------------------------------- */

int box_create(struct boxes *boxes, struct slice acl, uint64_t now_ms, struct box **ret)
{
	AUTO(batch_fini) struct batch batch = {0};
	struct mail_acl decoded = {0};
	int r = mail_acl_decode(acl, &decoded);

	if (r < 0)
		return r;
	if (boxes->count >= boxes->limits.boxes) {
		mail_acl_fini(&decoded);
		return -EDQUOT;
	}
	struct box *b = box_add(boxes, &decoded.mailbox);
	b->acl = decoded;
	random_bytes(b->log.b, sizeof(b->log.b));
	mail_chain_start(&b->log, b->first_chain);
	mail_chain_start(&b->log, b->head_chain);
	b->begun_ms = now_ms;
	write_basics(&batch, b);
	buf_slice_append(batch_put(&batch, 'A', &b->id, SLICE("", 0)), acl);
	r = batch_commit(boxes, &batch);
	if (r < 0) {
		box_unref(b);
		return r;
	}
	boxes->count++;
	*ret = b;
	return 0;
}

static bool is_by_administrator(const struct mail_acl *acl, struct slice next)
{
	for (size_t i = 0; i < acl->count; i++) {
		if ((acl->entries[i].rights & MAIL_ADMIN_RIGHT) &&
		    mail_acl_is_signed(next, acl->entries[i].sign_pk))
			return true;
	}
	return false;
}

int box_set_acl(struct box *b, struct slice acl)
{
	AUTO(batch_fini) struct batch batch = {0};
	struct mail_acl next = {0};
	int r = mail_acl_decode(acl, &next);

	if (r < 0)
		return r;
	if (!id_eq(&next.mailbox, &b->id))
		r = -EBADMSG;
	else if (next.version != b->acl.version + 1)
		r = -ESTALE;
	else if (!is_by_administrator(&b->acl, acl))
		r = -EACCES;
	if (r == 0) {
		buf_slice_append(batch_put(&batch, 'A', &b->id, SLICE("", 0)), acl);
		r = batch_commit(b->boxes, &batch);
	}
	if (r < 0) {
		mail_acl_fini(&next);
		return r;
	}
	mail_acl_fini(&b->acl);
	b->acl = next;
	return 0;
}

/* ---- the log ------------------------------------------------------------------------------------- */

static struct slice be64_of(struct buf *b, uint64_t v)
{
	buf_clear(b);
	buf_be64(b, v);
	return buf_slice(b);
}

static bool has_room(const struct box *b, size_t len)
{
	const struct box_limits *l = &b->boxes->limits;

	return b->bytes + len + ENTRY_BYTES <= l->box_bytes;
}

int box_append(struct box *b, const struct mailbox_item *item, struct slice bytes, uint64_t now_ms,
	       uint64_t *ret_cursor)
{
	AUTO(batch_fini) struct batch batch = {0};
	AUTO(buf_fini) struct buf cursor = {0};
	uint8_t item_digest[DIGEST_BYTES];
	uint64_t have = feed_seq(b, &item->tag);
	uint64_t last = item->seq_first + item->count - 1;
	struct box next = *b;

	if (last <= have)
		return 0;
	if (have > 0 && item->seq_first > have + 1)
		return -ENOTCONN;
	if (!has_room(b, bytes.len) || b->head - b->first >= b->boxes->limits.box_items ||
	    (have == 0 && b->feed_count >= FEEDS_MAX))
		return -EDQUOT;
	next.head = b->head + 1;
	next.bytes += bytes.len + ENTRY_BYTES;
	mail_item_digest(bytes, item_digest);
	mail_chain(b->head_chain, next.head, item_digest, next.head_chain);
	struct buf *v = batch_put(&batch, 'L', &b->id, be64_of(&cursor, next.head));
	buf_be64(v, now_ms);
	buf_append(v, next.head_chain, sizeof(next.head_chain));
	buf_slice_append(v, bytes);
	buf_varint(batch_put(&batch, 'H', &b->id, SLICE(item->tag.b, sizeof(item->tag.b))), last);
	write_basics(&batch, &next);
	int r = batch_commit(b->boxes, &batch);
	if (r < 0)
		return r;
	*b = next;
	set_feed(b, &item->tag, last);
	*ret_cursor = b->head;
	return 1;
}

static int read_log(struct box *b, uint64_t cursor, struct buf *ret)
{
	struct relay_store *store = b->boxes->store;
	AUTO(buf_fini) struct buf key = {0};

	write_key(&key, 'L', &b->id);
	buf_be64(&key, cursor);
	int r = store->ops->read(store, buf_slice(&key), ret);
	return r == 0 && ret->len <= LOG_HEAD_BYTES ? -EIO : r;
}

int box_read(struct box *b, uint64_t cursor, struct buf *ret)
{
	int r = read_log(b, cursor, ret);

	if (r < 0)
		return r;
	memmove(ret->data, ret->data + LOG_HEAD_BYTES, ret->len - LOG_HEAD_BYTES);
	ret->len -= LOG_HEAD_BYTES;
	return 0;
}

int box_chain(struct box *b, uint64_t cursor, uint8_t ret[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf value = {0};

	if (cursor == b->first || cursor == b->head) {
		memcpy(ret, cursor == b->head ? b->head_chain : b->first_chain, DIGEST_BYTES);
		return 0;
	}
	int r = read_log(b, cursor, &value);
	if (r == 0)
		memcpy(ret, value.data + 8, DIGEST_BYTES);
	return r;
}

/* ---- chunks and slots ---------------------------------------------------------------------------- */

bool box_has_chunk(struct box *b, const struct id *tag)
{
	AUTO(buf_fini) struct buf value = {0};

	return box_get_chunk(b, tag, &value) == 0;
}

int box_get_chunk(struct box *b, const struct id *tag, struct buf *ret)
{
	struct relay_store *store = b->boxes->store;
	AUTO(buf_fini) struct buf key = {0};

	write_key(&key, 'C', &b->id);
	id_write(&key, tag);
	int r = store->ops->read(store, buf_slice(&key), ret);
	if (r < 0)
		return r;
	if (ret->len <= 8)
		return -EIO;
	memmove(ret->data, ret->data + 8, ret->len - 8);
	ret->len -= 8;
	return 0;
}

int box_put_chunk(struct box *b, const struct id *tag, struct slice bytes, uint64_t now_ms)
{
	AUTO(batch_fini) struct batch batch = {0};
	struct box next = *b;

	if (box_has_chunk(b, tag))
		return 0;
	if (!has_room(b, bytes.len))
		return -EDQUOT;
	next.bytes += bytes.len + ENTRY_BYTES;
	struct buf *v = batch_put(&batch, 'C', &b->id, SLICE(tag->b, sizeof(tag->b)));
	buf_be64(v, now_ms);
	buf_slice_append(v, bytes);
	write_basics(&batch, &next);
	int r = batch_commit(b->boxes, &batch);
	if (r == 0)
		*b = next;
	return r;
}

int box_put_slot(struct box *b, const uint8_t dh_pk[KEYS_PK_BYTES], struct slice bytes)
{
	AUTO(batch_fini) struct batch batch = {0};
	struct box next = *b;

	next.slot_last++;
	struct buf *v = batch_put(&batch, 'S', &b->id, SLICE(dh_pk, KEYS_PK_BYTES));
	buf_varint(v, next.slot_last);
	buf_slice_append(v, bytes);
	write_basics(&batch, &next);
	int r = batch_commit(b->boxes, &batch);
	if (r < 0)
		return r;
	*b = next;
	set_slot(b, dh_pk, b->slot_last);
	return 0;
}

/* They are sorted by number. */
static size_t slot_after(const struct box *b, uint64_t number)
{
	size_t lo = 0;
	size_t hi = b->slot_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (b->slots[mid].number <= number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int box_next_slot(struct box *b, uint64_t *number, struct buf *ret)
{
	struct relay_store *store = b->boxes->store;
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf value = {0};

	for (size_t i = slot_after(b, *number); i < b->slot_count; i++) {
		if (!mail_acl_find(&b->acl, b->slots[i].dh_pk))
			continue; /* what a device that was removed had is of no interest */
		write_key(&key, 'S', &b->id);
		buf_append(&key, b->slots[i].dh_pk, KEYS_PK_BYTES);
		int r = store->ops->read(store, buf_slice(&key), &value);
		if (r < 0)
			return r;
		struct reader reader = reader_init(buf_slice(&value));
		*number = reader_varint(&reader);
		buf_clear(ret);
		buf_slice_append(ret, reader_take(&reader, reader_left(&reader)));
		return 1;
	}
	return 0;
}

/* ---- what goes ----------------------------------------------------------------------------------- */

int box_take(struct box *b, const uint8_t dh_pk[KEYS_PK_BYTES], uint64_t cursor, uint64_t now_ms)
{
	AUTO(batch_fini) struct batch batch = {0};
	struct box_taken *t = taken_of(b, dh_pk);

	if (cursor <= t->cursor || cursor > b->head)
		return 0;
	struct buf *v = batch_put(&batch, 'T', &b->id, SLICE(dh_pk, KEYS_PK_BYTES));
	buf_varint(v, cursor);
	buf_varint(v, now_ms);
	int r = batch_commit(b->boxes, &batch);
	if (r == 0)
		t->cursor = cursor;
	return r;
}

/* Up to where every device of the ACL has taken everything. */
static uint64_t taken_by_all(struct box *b)
{
	uint64_t least = b->head;

	for (size_t i = 0; i < b->acl.count; i++) {
		uint64_t cursor = taken_of(b, b->acl.entries[i].dh_pk)->cursor;

		least = cursor < least ? cursor : least;
	}
	return least;
}

int box_trim(struct box *b, size_t max, uint64_t now_ms)
{
	AUTO(buf_fini) struct buf value = {0};
	AUTO(buf_fini) struct buf cursor = {0};
	const struct box_limits *l = &b->boxes->limits;
	uint64_t all = taken_by_all(b);
	int went = 0;

	for (size_t i = 0; i < max && b->first < b->head; i++) {
		AUTO(batch_fini) struct batch batch = {0};
		struct box next = *b;
		bool full = b->bytes > l->box_bytes / 2 || b->head - b->first > l->box_items / 2;
		int r = read_log(b, b->first + 1, &value);

		if (r < 0)
			return r;
		struct reader reader = reader_init(buf_slice(&value));
		bool old = now_ms > reader_be64(&reader) + BOX_KEEP_MS;
		if (!old && !(full && b->first + 1 <= all))
			break;
		next.first++;
		memcpy(next.first_chain, value.data + 8, DIGEST_BYTES);
		uint64_t size = value.len - LOG_HEAD_BYTES + ENTRY_BYTES;
		next.bytes -= size < next.bytes ? size : next.bytes;
		(void)batch_put(&batch, 'L', &b->id, be64_of(&cursor, next.first));
		write_basics(&batch, &next);
		r = batch_commit(b->boxes, &batch);
		if (r < 0)
			return r;
		*b = next;
		went = 1;
	}
	return went;
}

struct doomed {
	struct buf keys[64];
	size_t count;
	uint64_t bytes;
};

static bool doom(void *ctx, struct slice key, struct slice value)
{
	struct doomed *d = ctx;

	d->bytes += value.len + ENTRY_BYTES - LOG_HEAD_BYTES;
	buf_clear(&d->keys[d->count]);
	buf_slice_append(&d->keys[d->count++], key);
	return d->count < countof(d->keys);
}

static int drop_kind(struct box *b, char kind, uint64_t *ret_bytes)
{
	struct relay_store *store = b->boxes->store;
	AUTO(buf_fini) struct buf prefix = {0};
	struct doomed d = {0};
	int r = 0;

	write_key(&prefix, kind, &b->id);
	do {
		struct relay_write writes[countof(d.keys)];

		memset(writes, 0, sizeof(writes));
		d.count = 0;
		r = store->ops->scan(store, buf_slice(&prefix), SLICE("", 0), doom, &d);
		for (size_t i = 0; r == 0 && i < d.count; i++)
			writes[i].key = buf_slice(&d.keys[i]);
		if (r == 0 && d.count > 0)
			r = store->ops->write(store, writes, d.count);
	} while (r == 0 && d.count > 0);
	for (size_t i = 0; i < countof(d.keys); i++)
		buf_fini(&d.keys[i]);
	*ret_bytes = d.bytes;
	return r;
}

static int write_box(struct box *b, const struct box *next)
{
	AUTO(batch_fini) struct batch batch = {0};

	write_basics(&batch, next);
	int r = batch_commit(b->boxes, &batch);
	if (r == 0)
		*b = *next;
	return r;
}

int box_refill(struct box *b, uint64_t now_ms)
{
	struct box next = *b;
	uint64_t bytes = 0;

	if (b->first == 0 || now_ms < b->begun_ms + BOX_REFILL_MS)
		return 0;
	/*
	 * What is said to be held goes first, then what names the log, at last the items: cut short in between, the mailbox
	 * asks for too much, never for too little.
	 */
	int r = drop_kind(b, 'H', &bytes);
	if (r == 0)
		r = drop_kind(b, 'T', &bytes);
	if (r < 0)
		return r;
	b->feed_count = 0;
	b->taken_count = 0;
	next.feed_count = 0;
	next.taken_count = 0;
	random_bytes(next.log.b, sizeof(next.log.b));
	mail_chain_start(&next.log, next.first_chain);
	mail_chain_start(&next.log, next.head_chain);
	next.first = 0;
	next.head = 0;
	next.begun_ms = now_ms;
	r = write_box(b, &next);
	if (r == 0)
		r = drop_kind(b, 'L', &bytes);
	if (r < 0)
		return r;
	next = *b;
	next.bytes -= bytes < next.bytes ? bytes : next.bytes;
	r = write_box(b, &next);
	return r < 0 ? r : 1;
}
